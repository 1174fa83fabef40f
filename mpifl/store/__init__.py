"""One run on disk: a folder that `Store` writes and `Run` reads; `pack` makes one file of it.

`checkpoint` writes and finds what a stopped run resumes from, and `Store.resume` takes it over.
"""

from mpifl.flat_layout import Entry
from mpifl.store import checkpoint
from mpifl.store.arrays import sha256
from mpifl.store.atomic import Refused
from mpifl.store.checkpoint import Checkpoint
from mpifl.store.contents import OTHERS_TESTED, Partition
from mpifl.store.evaluations import Holdout
from mpifl.store.packing import pack
from mpifl.store.plugin_texts import StoredPlugin
from mpifl.store.reader import Run
from mpifl.store.run_folder import Superseded
from mpifl.store.writer import Store

__all__ = [
    "Checkpoint",
    "OTHERS_TESTED",
    "Entry",
    "Holdout",
    "Partition",
    "Refused",
    "Run",
    "Store",
    "StoredPlugin",
    "Superseded",
    "checkpoint",
    "pack",
    "sha256",
]
