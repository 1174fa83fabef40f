"""`mpifl data`: pack a data set into one HDF5 file, and print what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mpifl import config
from mpifl.data import packed
from mpifl.data.dataset import Dataset
from mpifl.data.sources import SOURCES
from mpifl.options import BadInput, suggestion
from mpifl.terminal import facts, say, say_table, table


def pack_source(
    name: str,
    out: Path,
    root: Path | None,
    download: bool,
    given: Sequence[str],
    force: bool = False,
) -> None:
    """Load the data set `name`, write it to `out`, and print a summary. Raises BadInput."""
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
    dataset = SOURCES[name].load(root, download, **options)
    out.parent.mkdir(parents=True, exist_ok=True)
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
    say_table(f"{dataset.name}: {dataset.source}", made)
    say(f"images {' x '.join(map(str, dataset.shape))}, checksum {dataset.checksum[:16]}")
    say(f'written to {out}; in a config:  data.path = "{out}"')
