"""Sweep files of every kind are refused in one line, or their runs listed; nothing is made of
either.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from click.testing import CliRunner
from fuzzing import damaged, no_loop
from strange import KEYS, NUMBERS, VALUES, changed, key

from mpifl.cli import main
from mpifl.sweep import grid

pytestmark = pytest.mark.slow

SWEEP = """
base = "base.toml"
out = "out"
[cases.method.fedavg]
algorithm = "fedavg"
[cases.method.feddyn-man]
algorithm = { name = "feddyn", alpha = 0.01 }
local.loss = "ce + man(zeta=0.15)"
[cases.data.few]
data.train_limit = 100
[grid]
partition.alpha = [0.1, 0.3]
model = ["cnn", { name = "mlp", hidden = [8] }]
seed = [1, 2, 3]
""".strip().splitlines()
ASKED = ([], ["--list"], ["--missing"], ["--list", "--task", "1"])


def strange(chance: random.Random) -> bytes:
    """A sweep file with changed lines, more axes, and faults; or noise."""
    text = changed(SWEEP, chance) if chance.random() < 0.5 else "\n".join(SWEEP)
    if chance.random() < 0.5:
        values = chance.choices(
            chance.choice([VALUES, NUMBERS, ["0.1", "0.2", "0.9"]]), k=chance.randint(1, 3)
        )
        text += f"\n{key(chance)} = [{', '.join(values)}]\n"
    if chance.random() < 0.2:
        axis = chance.choice([*KEYS, "x"])
        case = chance.choice([*KEYS, "y"])
        text += f"\n[cases.{axis}.{case}]\n{key(chance)} = 1\n"
    kind = chance.random()
    return (
        chance.randbytes(300)
        if kind < 0.1
        else damaged(text.encode(), chance)
        if kind < 0.3
        else text.encode()
    )


def check(content: bytes, asked: list[str], folder: Path) -> int:
    """The exit code of `mpifl sweep`, when what it says is as it should be."""
    (folder / "sweep.toml").write_bytes(content)
    with no_loop():
        said = CliRunner().invoke(main, ["sweep", "sweep.toml", *asked])
    about = (said.exit_code, said.stdout, said.stderr, content[:3000], said.exception)
    if said.exit_code == 0:
        runs = len(grid.read(folder / "sweep.toml"))
        lines = said.stdout.splitlines()
        told = {
            "": f"{runs} runs in ",
            "--missing": f"0-{runs - 1}\n" if runs > 1 else "0\n",
            "--list": "0\tmissing\t",
        }
        assert asked[2:] or said.stdout.startswith(told["".join(asked[:1])]), about
        assert (
            asked != ["--list"]
            or len(lines) == runs
            and all(line.count("\t") == 2 for line in lines)
        ), about
    else:
        assert (said.exit_code, said.stdout, said.stderr.count("\n")) == (2, "", 1), about
        assert said.stderr.startswith("mpifl: ") and said.stderr[:-1].isprintable(), about
        assert 20 < len(said.stderr) < 1200, about
    assert (folder / "sweep.toml").read_bytes() == content
    assert sorted(path.name for path in folder.iterdir()) == ["base.toml", "sweep.toml"], about
    return said.exit_code


@pytest.fixture
def folder(elsewhere) -> Path:
    (elsewhere / "base.toml").write_text('rounds = 2\ndata = { name = "digits" }\n')
    return elsewhere


def test_whatever_is_given_is_listed_or_refused_in_one_line(folder):
    codes = []
    for seed in range(300):
        chance = random.Random(seed)
        codes.append(check(strange(chance), chance.choice(ASKED), folder))
    assert 20 < codes.count(0) < 280


@pytest.mark.parametrize("option", ["base", "out", "cases", "grid", "extends"])
def test_every_value_of_what_a_sweep_says_is_understood_or_refused_in_one_line(folder, option):
    for value in VALUES:
        for text in (f"{option} = {value}", f"{option} = [{value}]"):
            base = "" if option == "base" else 'base = "base.toml"\n'
            check((base + text).encode(), ["--list"], folder)


@pytest.mark.long
def test_whatever_else_is_given_is_listed_or_refused_in_one_line(folder):
    for seed in range(10**6, 10**6 + 20_000):
        chance = random.Random(seed)
        check(strange(chance), chance.choice(ASKED), folder)
