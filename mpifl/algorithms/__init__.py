"""Federated rules: one paper, one file; pure functions with explicit state. See `fedavg.py` for the protocol."""

from mpifl.algorithms.fedavg import FedAvg

ALGORITHMS = {"fedavg": FedAvg}
