"""The report: one page that shows what a set of runs did, and how they differ."""
