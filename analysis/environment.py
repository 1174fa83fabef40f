"""Finds mpifl for a script of this folder: started by a Python without it, the script is started
again by the one in the checkout's .venv, which `make demo` makes.
"""

import importlib.util
import os
import sys

VENV = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), ".venv")


def find() -> None:
    """Return where mpifl can be imported; else do not return."""
    if importlib.util.find_spec("mpifl") is not None:
        return
    python = os.path.join(VENV, "bin", "python")
    if os.path.exists(python) and os.path.realpath(sys.prefix) != os.path.realpath(VENV):
        sys.stdout.flush()
        os.execv(python, [python, *sys.argv])
    told = (
        f"mpifl: mpifl is not installed for {sys.executable}; `make demo` installs it into {VENV}"
    )
    print(told, file=sys.stderr)
    sys.exit(2)


find()
