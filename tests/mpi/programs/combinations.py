"""`combinations.py JSON`: train each of a list of combinations on all ranks; the server says how
many did.
"""

import json
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # where matrix.py is

from matrix import train

from mpifl.parallel.communicator import Communicator
from mpifl.parallel.mpi import stop_all

if __name__ == "__main__":
    communicator, choices = Communicator(), json.loads(sys.argv[1])
    for choice in choices:
        try:
            train(choice, communicator=communicator)
        except BaseException:
            print("; ".join(choice.values()), file=sys.stderr)
            traceback.print_exc()
            stop_all()
    if communicator.is_server:
        print(f"trained {len(choices)}")
