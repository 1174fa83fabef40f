"""`python -m benchmarks [NAME]...`: run the named benchmarks, or all of them, and print a table for
each.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import click

from benchmarks import (
    curvature,
    evaluation,
    gpu,
    lanes,
    memory_format,
    methods,
    order_free_sum,
    overhead,
    plan,
    products,
    report,
    report_page,
    resnet,
    total,
    waiting,
    workers,
)

BENCHMARKS = {
    "overhead": overhead.overhead,
    "small": overhead.small,
    "resnet": resnet.resnet,
    "methods": methods.methods,
    "waiting": waiting.waiting,
    "evaluation": evaluation.evaluation,
    "workers": workers.workers,
    "lanes": lanes.lanes,
    "total": total.total,
    "plan": plan.plan,
    "curvature": curvature.curvature,
    "products": products.products,
    "sum": order_free_sum.order_free_sum,
    "report": report_page.report_page,
    "conv": memory_format.memory_format,
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, type=click.Choice([*BENCHMARKS, "gpu"]))
@click.option("--list", "listing", is_flag=True, help="List the benchmarks, and run none.")
@click.option("--dry-run", is_flag=True, help="Of gpu: a little of it, on the CPU.")
@click.option(
    "--json",
    "path",
    type=click.Path(path_type=Path),
    help="Append a line for each benchmark to this file.",
)
def main(names: tuple[str, ...], listing: bool, dry_run: bool, path: Path | None) -> None:
    """Time mpifl against bare alternatives, in turn. A ratio under 1 means that mpifl is faster.

    `gpu` needs a CUDA GPU, and runs only if it is named, by itself.
    """
    if dry_run and names != ("gpu",):
        raise click.UsageError("--dry-run: expected the benchmark gpu, by itself")
    if listing:
        for name, benchmark in {**BENCHMARKS, "gpu": gpu.gpu}.items():
            click.echo(f"{name:10} {benchmark.__doc__}")
    elif names == ("gpu",):
        found = [asdict(line) for line in gpu.gpu(dry_run)]
        _append(path, "gpu", found)
    elif len(names) == 1:
        _run(names[0], path)
    else:  # each in a process of its own, so none inherits another's heap
        arguments = ["--json", str(path)] if path else []
        commands = [
            [sys.executable, "-m", "benchmarks", name, *arguments] for name in names or BENCHMARKS
        ]
        sys.exit(max(subprocess.run(command, check=False).returncode for command in commands))


def _run(name: str, path: Path | None) -> None:
    rows = BENCHMARKS[name]()
    report.show(f"\n{name}: {BENCHMARKS[name].__doc__}", rows)
    _append(path, name, report.plain(rows))


def _append(path: Path | None, name: str, rows: list[dict]) -> None:
    """Append a line of JSON to the file at `path`, if there is one."""
    if path:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"benchmark": name, "rows": rows}) + "\n")


if __name__ == "__main__":
    main()
