"""The commands of the command line, one file each. Their files import click and nothing heavy:
`--help` and completion answer at once. What a command needs is imported when it runs.
"""
