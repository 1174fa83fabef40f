"""`mpifl data`: pack a data set into one HDF5 file, and print what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mpifl import config
from mpifl.data import packed
from mpifl.data.dataset import Dataset, Split
from mpifl.data.reading import UnreadableImages, list_unreadable
from mpifl.data.sources import SOURCES
from mpifl.options import BadInput, suggestion
from mpifl.terminal import facts, say, say_table, table

_MOST_NAMES = 10  # of classes


_WITH_PLACE = "hf"
"""the source whose name is followed by a colon and what it reads"""


def source_and_root(given: str, root: Path | None) -> tuple[str, Path | None]:
    """The name of the data set and where its files are. Raises BadInput.

    >>> source_and_root("hf:flwrlabs/femnist", None)
    ('hf', PosixPath('flwrlabs/femnist'))
    >>> source_and_root("arrays", Path("mine.npz"))
    ('arrays', PosixPath('mine.npz'))
    """
    name, colon, place = given.partition(":")
    if name != _WITH_PLACE or not colon:
        return given, root
    if root is not None or not place:
        raise BadInput(f"data: expected hf:NAME, hf:FOLDER or --root FOLDER; got {given}")
    return name, Path(place).expanduser()


def default_out(name: str, root: Path | None) -> Path:
    """The file that a data set is packed into if none is named.

    >>> str(default_out("hf", Path("flwrlabs/femnist"))), str(default_out("mnist", None))
    ('data/femnist.h5', 'data/mnist.h5')
    """
    if name == _WITH_PLACE and root is not None:
        name = root.resolve().stem
    return Path("data") / f"{name}.h5"


def pack_source(
    name: str,
    out: Path,
    root: Path | None,
    download: bool,
    given: Sequence[str],
    force: bool = False,
    skip_unreadable: bool = False,
    client: str = "",
) -> None:
    """Load the data set `name`, write it to `out`, and print a summary. Raises BadInput.

    `given` are the options of the data set, as key=value; `skip_unreadable` is one of those that
    read image files, `client` (a column) of those that read tables.
    """
    if name not in SOURCES:
        raise BadInput(f"data: unknown data set {name!r}{suggestion(name, SOURCES)}")
    if out.exists() and not force:
        raise BadInput(
            f"{out}: expected a file that does not exist yet; got one; "
            "allowed: another --out, or --force"
        )
    options = config.override({}, given)
    for key, value in options.items():
        if isinstance(value, list):
            options[key] = tuple(value)
    if skip_unreadable:
        options["skip_unreadable"] = True
    if client:
        options["client"] = client
    try:
        dataset = SOURCES[name].load(root, download, **options)
    except UnreadableImages as error:
        if len(error.errors) > 1:
            list_unreadable(error.errors)
        raise
    out.parent.mkdir(parents=True, exist_ok=True)
    say(f"writing {out}", error=True)
    packed.write(dataset, out)
    summarise(dataset, out)


def list_sources() -> None:
    """Print the data sets that can be packed."""
    made = facts()
    for name, source in SOURCES.items():
        made.add_row(name, source.summary)
    say_table("mpifl data NAME, of:", made)


def summarise(dataset: Dataset, out: Path) -> None:
    """Print what the file has, and how a config names it."""
    made = table("", "train", "test")
    splits = (dataset.train, dataset.test)
    made.add_row("samples", *(f"{len(split):,}" for split in splits))
    classes = len(dataset.classes)
    sizes = [np.bincount(split.labels, minlength=classes) for split in splits]
    ranges = [f"{counts.min()} to {counts.max()}" for counts in sizes]
    made.add_row(f"samples of each of {classes} classes", *ranges)
    for number, domain in enumerate(dataset.domain_names):
        counts = [np.count_nonzero(split.domains == number) for split in splits]
        made.add_row(f"domain {domain}", *(f"{count:,}" for count in counts))
    if dataset.client_names:
        made.add_row("clients", *(_clients(split) for split in splits))
    say_table(f"{dataset.name}: {dataset.source}", made)
    say(f"classes {_shortened(dataset.classes)}")
    say(f"images {' x '.join(map(str, dataset.shape))}, checksum {dataset.checksum[:16]}")
    if dataset.warning:
        say(f"warning: {dataset.warning}")
    say(f'written to {out}; in a config:  data.path = "{out}"')


def _clients(split: Split) -> str:
    """How many clients have samples in a split, and how many."""
    if split.clients is None:
        return ""
    _, sizes = np.unique(split.clients, return_counts=True)
    return f"{len(sizes):,} of {sizes.min():,} to {sizes.max():,}"


def _shortened(names: Sequence[str]) -> str:
    """All names, or the first and the last ones of many."""
    if len(names) > _MOST_NAMES:
        first = ", ".join(names[: _MOST_NAMES - 1])
        return f"{first} ... {names[-1]}"
    return ", ".join(names)
