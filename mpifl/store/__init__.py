"""One run on disk: a folder written by `Store`, read by `Run`, sent to somebody as one file by
`pack`.

`checkpoint` holds what a stopped run goes on from, and `Store.resume` goes on with it.
"""

from mpifl.store import checkpoint
from mpifl.store.arrays import sha256
from mpifl.store.atomic import Refused
from mpifl.store.checkpoint import Checkpoint
from mpifl.store.hdf5_layout import Entry, Partition
from mpifl.store.packing import pack
from mpifl.store.reader import OTHERS_TESTED, Run
from mpifl.store.run_folder import Superseded
from mpifl.store.writer import Store

__all__ = [
    "Checkpoint",
    "OTHERS_TESTED",
    "Entry",
    "Partition",
    "Refused",
    "Run",
    "Store",
    "Superseded",
    "checkpoint",
    "pack",
    "sha256",
]
