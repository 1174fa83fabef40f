"""Benchmarks: each is a ratio of two things timed side by side in one run, with the bar that it has
to clear.
"""
