"""`mpifl export`: the results of runs as long tables for pandas and R, or for TensorBoard."""
