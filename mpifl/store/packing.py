"""pack: one file with a whole run, to send to somebody. `Run.open` reads it like the folder."""

from __future__ import annotations

import io
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import h5py

from mpifl.options import BadInput
from mpifl.store import atomic, checksum, datasets, model_files, notes
from mpifl.store.arrays import ROOM_FOR_HEADERS
from mpifl.store.contents import model_name
from mpifl.store.hdf5_groups import stored_provenance
from mpifl.store.hdf5_layout import results_image
from mpifl.store.reader import Run, as_results
from mpifl.store.run_folder import RESULTS


class _ModelFile(NamedTuple):
    """What an array of `results.h5` links to."""

    name: str
    """relative to the folder of the results"""
    round: int


def pack(run_path: str | Path, out_path: str | Path, force: bool = False) -> Path:
    """Write the run at `run_path`, with all its saved weights, to the file `out_path`.

    Memory does not grow with the weights. Secrets that an old run may hold are left out.

    Raises BadInput if `run_path` is no run, if its weights are missing, or if `out_path` exists
    (`force` replaces a file there). Raises OSError naming `out_path` if it cannot be written; then
    nothing is left behind.
    """
    run = Run.open(run_path)
    out = Path(out_path)
    _check_target(run, out, force)
    image = checksum.read_image(run.file)
    with h5py.File(io.BytesIO(image), "r") as results:
        linked = _links(results)
        _check_own(run, results, linked)
        _check_models(run, linked)
        with atomic.replacing(out) as temporary:
            room = ROOM_FOR_HEADERS
            for model in set(linked.values()):
                room += model_files.place(run.file, model.name).stat().st_size
            is_clean = stored_provenance(results) == [run.provenance, *run.resumes]
            # A deleted attribute would leave its bytes in the file: results that hold secrets are
            # written anew.
            start = image if is_clean else results_image(as_results(run))
            atomic.create_with_room(temporary, start, room)
            # Copying groups would cut arrays from their dimension scales. So the results are copied
            # as a whole, then each link is replaced by its array.
            with h5py.File(temporary, "r+", locking=False) as packed:
                for path, model in linked.items():
                    with model_files.opened(
                        run.file, model.name, model.round, run.run_id
                    ) as source:
                        del packed[path]
                        packed.copy(source[Path(path).name], path)
                for path in _links(packed):  # of a packed file that was written anew
                    del packed[path]
                    packed.copy(results[path], path)
                _add_notes(packed, run)
            atomic.append_trailer(temporary)
    return out


def _add_notes(packed: h5py.File, run: Run) -> None:
    known = notes.read(run)
    if "notes" in packed:
        del packed["notes"]
    if known:
        group = packed.create_group("notes")
        for name, text in known:
            group[name] = text


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
            f"{out}: expected a new file; got one that exists; choose another, "
            "or replace it with --force (force=True)"
        )


def _check_own(run: Run, results: h5py.File, linked: Collection[str]) -> None:
    """Raise BadInput if results refer to other files than those of their weights."""
    try:
        datasets.check_all(results, set(linked))
    except (KeyError, OSError, RuntimeError, ValueError) as problem:
        raise BadInput(
            f"{run.file}: expected a run that refers to no other files; got another layout "
            f"({' '.join(str(problem).split())})"
        ) from problem


def _check_models(run: Run, linked: dict[str, _ModelFile]) -> None:
    """Raise BadInput unless each linked file is there, intact and the run's own."""
    for model in set(linked.values()):
        with model_files.opened(run.file, model.name, model.round, run.run_id) as content:
            datasets.check_all(content, set())


def _links(results: h5py.File) -> dict[str, _ModelFile]:
    """The model file behind each array that results link to, by the array's path."""
    links = {}
    for round in results["models/round"][...].tolist():
        group = results["models"][model_name(round)]
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                links[f"{group.name}/{name}"] = _ModelFile(link.filename, round)
    return links
