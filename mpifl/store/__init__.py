"""One run on disk: a folder written by `Store`, read by `Run`, sent to somebody as one file by `pack`."""

from mpifl.store.folder import Superseded
from mpifl.store.image import Entry
from mpifl.store.packing import pack
from mpifl.store.reader import Run
from mpifl.store.weights import sha256
from mpifl.store.writer import Partition, Store

__all__ = ["Entry", "Partition", "Run", "Store", "Superseded", "pack", "sha256"]
