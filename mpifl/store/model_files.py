"""The weights of a round: a file of their own beside the results, written once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from mpifl.flat_layout import Entry
from mpifl.options import BadInput
from mpifl.store import atomic, validate
from mpifl.store.contents import FORMAT_VERSION, MODEL_FORMAT, model_file, software
from mpifl.store.hdf5_layout import model_image
from mpifl.store.run_folder import MODELS


def write(
    folder: Path,
    round: int,
    arrays: Mapping[str, np.ndarray],
    layout: Sequence[Entry],
    run_id: str,
    check: atomic.Check,
) -> None:
    """Write the arrays of a round (see `store/arrays.py`) to its file in the run folder."""
    attributes: dict[str, str | int] = {
        **software(),
        "format": MODEL_FORMAT,
        "format_version": FORMAT_VERSION,
        "run_id": run_id,
        "round": round,
    }
    image = model_image(attributes, arrays, layout)
    atomic.make_folder(folder / MODELS)
    atomic.write_hdf5(folder / model_file(round), image, check)


@contextmanager
def opened_arrays(
    results: Path, group: h5py.Group, round: int, run_id: str
) -> Iterator[h5py.Group]:
    """The arrays of a saved round: of its file, or the `group` itself in a packed file.

    `group` is that of the round in the file `results`. Raises BadInput as `opened` does.
    """
    name = _linked(group)
    if name is None:
        yield group
    else:
        with opened(results, name, round, run_id) as model:
            yield model


def is_here(results: Path, group: h5py.Group) -> bool:
    """Whether the arrays of a saved round are there: in `results` or in its folder."""
    name = _linked(group)
    return name is None or place(results, name).exists()


def _linked(group: h5py.Group) -> str | None:
    """The file of which the group's arrays are; None if they are in the group."""
    link = group.get("global", getlink=True)
    return link.filename if isinstance(link, h5py.ExternalLink) else None


@contextmanager
def opened(results: Path, name: str, round: int, run_id: str) -> Iterator[h5py.File]:
    """The weights of a round, open for reading: the file `name` in the folder of `results`.

    Raises BadInput if they are another round's or run's. If `results` is a symbolic link, the
    folder is that of its target.
    """
    own_name = model_file(round)
    if name != own_name:
        raise BadInput(f"{results}: expected weights in {own_name}; got a link to {name}")
    file = place(results, name)
    if not file.exists():
        raise BadInput(
            f"{file}: expected the weights of round {round}; got no such file; copy {MODELS}/ of "
            f"the run beside {results.name}"
        )
    with validate.opened(file, "the weights of a round", MODEL_FORMAT, FORMAT_VERSION) as content:
        for attribute, expected in {"run_id": run_id, "round": round}.items():
            found = content.attrs[attribute]
            if found != expected:
                raise BadInput(
                    f"{file}: expected the weights of {attribute} {expected}; got those of {found}"
                )
        yield content


def place(results: Path, name: str) -> Path:
    """Where the file `name` is that `results` links to."""
    return results.resolve().parent / name
