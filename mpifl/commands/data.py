"""`mpifl data`: data sets as HDF5 files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mpifl.commands.arguments import HELP, PLUGINS, FilePath, load_plugins
from mpifl.commands.data_show import data_show
from mpifl.commands.process import one_line_errors

_SHOW = "show"


class _DataCommand(click.Command):
    """`mpifl data NAME`, and `mpifl data show FILE`, which has options of its own."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """The context of one of the two commands."""
        if args[:1] == [_SHOW]:
            return data_show.make_context(f"{info_name} {_SHOW}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command(cls=_DataCommand, context_settings=HELP)
@click.argument("name", required=False)
@click.option(
    "-o",
    "--out",
    type=FilePath(),
    help="The file to write [default: data/NAME.h5].",
)
@click.option(
    "--root",
    type=FilePath(),
    help="Where the source's files are: a folder, or for arrays the file [default: data].",
)
@click.option("--download", is_flag=True, help="Let torchvision fetch them into --root first.")
@click.option(
    "--option",
    "given",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the source, such as size=64.",
)
@click.option(
    "--client",
    default="",
    metavar="COLUMN",
    help='The column of a table (hf:) that says whose sample it is, for partition = "natural".',
)
@PLUGINS
@click.option("--skip-unreadable", is_flag=True, help="Leave out images that cannot be read.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def data(
    name: str | None,
    out: Path | None,
    root: Path | None,
    download: bool,
    given: tuple[str, ...],
    client: str,
    plugins: tuple[Path, ...],
    skip_unreadable: bool,
    force: bool,
) -> None:
    """Pack the data set NAME into one HDF5 file, once, for all runs.

    Without NAME it lists the data sets. A config names the file as data.path.

    \b
    mpifl data
    mpifl data cifar100 --root ~/data --download --out data/cifar100.h5
    mpifl data images --root tiny-imagenet-200 --out data/tiny.h5
    mpifl data images --root pacs --option size=224 --option held_out=0.1 --out data/pacs.h5
    mpifl data arrays --root mine.npz --out data/mine.h5
    mpifl data femnist --root leaf/data/femnist/data --out data/femnist.h5
    mpifl data hf:flwrlabs/femnist --download --client writer_id   of the Hugging Face Hub
    mpifl data hf:FOLDER --option label=species --option size=64   or parquet files, class folders
    mpifl data NAME --plugin mine.py --out data/mine.h5       a data set that you have registered

    `mpifl data show data/tiny.h5` draws samples of a packed file (mpifl data show --help).

    \b
    images  train/CLASS/* with val/CLASS/* or test/CLASS/*; or DOMAIN/CLASS/*, of which
            a share is held out as the test
    arrays  train_images, train_labels, test_images, test_labels; or images, labels, of
            which a share is held out; with the domains and clients of the samples, if any;
            MedMNIST's files are of this kind
    hf      the columns of images and labels are found, or named by --option image=COLUMN,
            label=COLUMN, domain=COLUMN; without a part test a share is held out
    """
    with one_line_errors():
        from mpifl.data.prepare import default_out, list_sources, pack_source, source_and_root

        load_plugins(plugins)
        if name is None:
            list_sources()
            return
        name, root = source_and_root(name, root)
        out = out or default_out(name, root)
        pack_source(name, out, root, download, given, force, skip_unreadable, client)
