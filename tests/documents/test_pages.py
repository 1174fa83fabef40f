"""What the pages show, README and docs/ alike, works as it stands there, from top to bottom."""

from __future__ import annotations

import re
import subprocess
import tomllib
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from documents.pages import LANGUAGES, PAGES, Block, blocks, name
from documents.shell import Shell

from mpifl.cli import main
from mpifl.runner import build, plugins, schema

HERE = {
    "000040": "000004",
    "[20, 40]": "[2, 4]",
    "[40]": "[4]",
    "@40": "@4",
    "range(300)": "range(30)",
    "side=31": "side=3",
    "samples=200, top=3": "samples=20, top=2",
}
"""what pages say of their runs and how much they compute, and what is so here"""


def _shortened(text: str) -> str:
    for theirs, ours in HERE.items():
        text = text.replace(theirs, ours)
    return text


def _run_bash(block: Block, shell: Shell, desk: Path) -> None:
    code, output = shell.run(_shortened(block.text), desk)
    if code != 0:
        pytest.fail(f"{block.place}: exit code {code}\n{block.text}\n{output}", pytrace=False)


def _run_python(block: Block, known: dict) -> None:
    try:
        exec(_shortened(block.text), known)
    except Exception:
        pytest.fail(f"{block.place}:\n{block.text}\n{traceback.format_exc()}", pytrace=False)


def _read_toml(block: Block, desk: Path) -> None:
    """A config can be built, with all its clients. A sweep is read by the command that runs it."""
    if "base" in tomllib.loads(block.text):
        return
    path = desk / (block.file or "block.toml")
    path.write_text(block.text, encoding="utf-8")
    try:
        config = schema.resolve(schema.raw(str(path), []))
        dataset = build.load_data(config.data, config.seed, config.holdout.domains)
        experiment = build.experiment(config, dataset, torch.device("cpu"))
    except Exception:
        pytest.fail(f"{block.place}:\n{block.text}\n{traceback.format_exc()}", pytrace=False)
    assert len(experiment.clients) == config.clients


def _commands(script: str) -> Iterator[tuple[str, set[str]]]:
    """The commands `mpifl NAME` of a script, each with its options."""
    without_comments = re.sub(r"(^|\s)#.*", "", script)
    for call in re.findall(r"\bmpifl ([a-z]+\b[^|;&)\n]*)", without_comments):
        command, *words = call.split()
        yield command, {word.partition("=")[0] for word in words if word.startswith("--")}


def _options(command: str) -> set[str]:
    """What may be given to a command and its subcommands."""
    found = {"--help"}
    waiting = [main.commands[command]]
    while waiting:
        of = waiting.pop()
        found.update(option for parameter in of.params for option in parameter.opts)
        waiting += getattr(of, "commands", {}).values()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_blocks_of_a_page_run_from_top_to_bottom(page, desk, shell):
    known: dict = {"__name__": "__main__"}
    try:
        for block in blocks(page):
            assert block.language in LANGUAGES, f"{block.place}: expected one of {LANGUAGES}"
            if block.reason or block.language == "text":
                continue
            if block.file:
                (desk / block.file).write_text(block.text, encoding="utf-8")
            if block.language == "bash":
                _run_bash(block, shell, desk)
            elif block.language == "toml":
                _read_toml(block, desk)
            elif not block.file:
                _run_python(block, known)
    finally:
        plugins.use(())


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_is_not_run_is_bash_or_python_and_has_options_that_there_are(page):
    for block in blocks(page):
        if block.reason and block.language == "bash":
            read = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True)
            assert read.returncode == 0, f"{block.place}: {read.stderr}"
            for command, options in _commands(block.text):
                assert options <= _options(command), f"{block.place}: mpifl {command}"
        if block.reason and block.language == "python":
            compile(block.text, block.place, "exec")
