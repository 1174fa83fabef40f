"""Finished runs read together: groups over seeds, curves, tables."""
