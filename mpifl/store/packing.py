"""pack: a run as one file to send to somebody; whatever reads a run's folder reads that file too."""

from __future__ import annotations

import io
from pathlib import Path

import h5py

from mpifl.options import BadInput
from mpifl.store import atomic, checksum
from mpifl.store.hdf5_layout import model_name
from mpifl.store.reader import Run, model_opened
from mpifl.store.run_folder import RESULTS

_ROOM_FOR_HEADERS = 1 << 20


def pack(run_path: str | Path, out_path: str | Path, force: bool = False) -> Path:
    """Write the run at `run_path` to `out_path`, all of its saved weights inside; memory does not
    grow with them.

    Raises BadInput for what is no run, for a run whose weights are missing, and for an `out_path`
    that exists (`force` replaces a file there); OSError naming `out_path` if it cannot be written,
    and then nothing is left behind.
    """
    run, out = Run.open(run_path), Path(out_path)
    _check_target(run, out, force)
    image = checksum.image(run.file)
    sources = _sources(run, image)
    with atomic.replacing(out) as temporary:
        linked = sum(
            (run.file.resolve().parent / name).stat().st_size for name, _ in set(sources.values())
        )
        atomic.write_with_room(temporary, image, linked + _ROOM_FOR_HEADERS)
        # Copying groups would cut arrays from their dimension scales: so the whole image, then each
        # link's array.
        with h5py.File(temporary, "r+", locking=False) as packed:
            for path, weights in sources.items():
                with model_opened(run.file, *weights, run.run_id) as source:
                    del packed[path]
                    packed.copy(source[Path(path).name], path)
        atomic.seal_hdf5(temporary)
    return out


def _check_target(run: Run, out: Path, force: bool) -> None:
    if out.is_dir() or not out.parent.is_dir():
        raise BadInput(
            f"{out}: expected a file to write in a folder that exists; got none; choose another"
        )
    if out.name == RESULTS or (out.exists() and out.samefile(run.file)):
        raise BadInput(
            f"{out}: expected a file that is no run's own; got one that is; choose another"
        )
    if out.exists() and not force:
        raise BadInput(
            f"{out}: expected a new file; got one that exists; choose another, or force its replacement"
        )


def _sources(run: Run, image: bytearray) -> dict[str, tuple[str, int]]:
    """Name and round of the model file behind each linked array of a results image, each seen to be
    the run's own.
    """
    sources = {}
    with h5py.File(io.BytesIO(image), "r") as results:
        for round in results["models/round"][...].tolist():
            group = results["models"][model_name(round)]
            for name in group:
                link = group.get(name, getlink=True)
                if isinstance(link, h5py.ExternalLink):
                    sources[f"{group.name}/{name}"] = link.filename, round
    for weights in set(sources.values()):
        with model_opened(run.file, *weights, run.run_id):
            pass
    return sources
