"""`interface.py OUT`: a user's script under mpirun: two runs, one after the other, on all ranks.

`interface.py OUT failing`: a callback of the first raises, and the script goes on to the second.
"""

import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # where tiny.py is

from tiny import RUN

import mpifl


class Failing(mpifl.Callback):
    def round_finished(self, progress: mpifl.Progress, last: bool) -> None:
        raise ValueError("as asked for")


if __name__ == "__main__":
    out = Path(sys.argv[1])
    if "failing" in sys.argv:
        with suppress(ValueError):
            mpifl.run(RUN, out=out / "failing", callbacks=[Failing()], quiet=True)
    first = mpifl.run(RUN, out=out / "first", quiet=True)
    mpifl.run(RUN, overrides=["seed=6"], out=out / "second", quiet=True)
    if first is not None:
        print(*first.rounds["sha256"])
