"""`runs.py FOLDER`: run each config FOLDER/*.toml into FOLDER/NAME. One launch, for starting up
takes longest.
"""

import sys
from pathlib import Path

from mpifl.runner import session

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for path in sorted(folder.glob("*.toml")):
        if session.main(str(path), [], folder / path.stem, force=False):
            sys.exit(f"{path} was not run to its end")
