"""The curvature of a run's stored models."""
