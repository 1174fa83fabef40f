"""Everything about MPI processes: starting, communicating, exact sums, failures, and devices."""
