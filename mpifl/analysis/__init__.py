"""Finished runs read together: grouped over seeds, drawn as curves, put into tables, and their
models looked at again.

Nothing here trains or writes into a run, and numbers come back as numpy arrays. The commands are in
`analysis/`, whose README shows a notebook's way. Only `reload_run` and `features` need torch, only
`drawing` and `surfaces` matplotlib, only `page` plotly.
"""
