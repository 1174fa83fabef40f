"""A stored run's models, with its network and data built again."""
