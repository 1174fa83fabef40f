"""`mpifl watch`: how runs stand while others write them, on a screen or as lines.

Only files are read, so it works from another terminal, a login node, or another machine.
"""
