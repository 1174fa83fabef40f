"""What a GPU makes of mpifl: one table, printed line by line, within six minutes on one H100.

`--dry-run` does the same with little work on the CPU, which proves the program and no number.
"""

from __future__ import annotations

import time

import click
import torch

from benchmarks.gpu_clients import busy, lanes, sharing, small_clients
from benchmarks.gpu_resnet import methods_of_field, resnet
from benchmarks.gpu_table import Line, Ratio
from benchmarks.gpu_work import DRY, FULL

SECONDS = 330.0
"""after which nothing more is begun"""


def gpu(dry_run: bool = False) -> list[Line | Ratio]:
    """what a GPU makes of many small clients, of ResNet-56 and of each method, in six minutes"""
    size = DRY if dry_run else FULL
    bars = not dry_run  # which are about a GPU
    if size.kind == "cuda" and not torch.cuda.is_available():
        raise click.ClickException(
            "gpu: expected a CUDA GPU; torch sees none; --dry-run does a little of it on the CPU"
        )
    name = torch.cuda.get_device_name(0) if size.kind == "cuda" else "a dry run on the CPU"
    click.echo(f"\ngpu: {name}, torch {torch.__version__}")
    began = time.monotonic()
    found: list[Line | Ratio] = []
    for part in (small_clients, lanes, resnet, busy, sharing, methods_of_field):
        try:
            for line in part(size):
                found.append(line)
                click.echo(line.text(bars))
                if time.monotonic() - began > SECONDS:
                    click.echo("time is up: what follows was not measured")
                    return found
        except Exception as error:  # of one part; the others are worth having
            if dry_run:
                raise
            click.echo(f"{part.__name__}: {type(error).__name__}: {error}".partition("\n")[0])
    return found
