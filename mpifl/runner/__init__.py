"""One `mpifl run`: from a config to a finished folder."""
