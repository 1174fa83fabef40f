# shellcheck shell=bash disable=SC2034
# What differs between sites. Edit it here once, or set a variable in the environment of sbatch or qsub.

MODULES=${MODULES:-}                 # modules to load, as for `make demo MPI=system`: "python/3.11 openmpi/5.0"
VENV=${VENV:-}                       # the virtual environment of mpifl; empty: the checkout's .venv, or the PATH
LAUNCHER=${LAUNCHER:-srun}           # srun or mpirun; PBS jobs take mpirun
SRUN_MPI=${SRUN_MPI:-pmi2}           # srun's --mpi: pmi2 for MPICH (make's own), pmix for Open MPI; `srun --mpi=list`
SRUN_FLAGS=${SRUN_FLAGS:-}           # more of srun's options
MPIRUN=${MPIRUN:-mpirun}             # the one of the MPI library that VENV uses
MPIRUN_FLAGS=${MPIRUN_FLAGS:-}       # more of its options
RANKS_PER_GPU=${RANKS_PER_GPU:-1}    # ranks that share a GPU: more than one fills it with small models (README.md)
MAX_RESTARTS=${MAX_RESTARTS:-100}    # how often a job that was cut short queues itself again
