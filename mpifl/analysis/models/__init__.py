"""The network and data of a stored run, made again."""
