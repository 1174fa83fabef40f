"""All that is about MPI processes: how they find each other, talk, add up, notice a death, and use
devices.
"""
