"""`interface.py OUT`: a user's script under mpirun: two runs, one after the other, on all ranks."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # where tiny.py is

from tiny import RUN

import mpifl

if __name__ == "__main__":
    out = Path(sys.argv[1])
    first = mpifl.run(RUN, out=out / "first", quiet=True)
    mpifl.run(RUN, overrides=["seed=6"], out=out / "second", quiet=True)
    if first is not None:
        print(*first.rounds["sha256"])
