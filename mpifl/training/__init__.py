"""The mathematics of one run, on ranks: the local step, a client, a round."""
