"""mpifl: a simulator for the study of generalisation in federated learning, on MPI clusters and
workstations.
"""

__version__ = "0.1.0"
