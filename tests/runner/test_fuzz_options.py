"""Configs, overrides and losses of every kind are refused in one line, or understood; then their
text gives them again.
"""

from __future__ import annotations

import dataclasses
import os
import random
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from fuzzing import damaged, no_loop, outcome
from strange import LINES, NUMBERS, SECTIONS, TEXT, VALUES, changed, key

from mpifl import config
from mpifl.algorithms.fedavg import FedAvg
from mpifl.algorithms.fedopt import Adam
from mpifl.data.sources import SOURCES
from mpifl.losses import LOSSES
from mpifl.losses.expression import parse, render
from mpifl.options import BadInput
from mpifl.runner import build, schema
from mpifl.runner.schema import Config
from mpifl.schedules import Cosine

pytestmark = pytest.mark.slow


def understood(raw: dict) -> None:
    resolved = schema.text(schema.resolve(raw))
    assert schema.text(schema.resolve(config.parse(resolved, "its own text"))) == resolved


def check_text(chance: random.Random, folder) -> None:
    text = changed(LINES, chance)
    outcome(lambda: understood(config.parse(text, "text")), text)


def check_file(chance: random.Random, folder) -> None:
    content = (
        damaged(changed(LINES, chance).encode(), chance)
        if chance.random() < 0.9
        else chance.randbytes(300)
    )
    (folder / "config.toml").write_bytes(content)
    outcome(lambda: understood(config.read(folder / "config.toml")), content)
    assert (folder / "config.toml").read_bytes() == content


def check_overrides(chance: random.Random, folder) -> None:
    given = [f"{key(chance)}={chance.choice(VALUES)}" for _ in range(chance.randint(1, 3))]
    if chance.random() < 0.1:
        codes = chance.choices([0, 10, 34, 46, 61, 65, 91, 123, 0xDC80, 0x1F600], k=8)
        given = ["".join(chr(code) for code in codes)]
    outcome(lambda: understood(config.override({}, given)), given)


def check_loss(chance: random.Random, folder) -> None:
    text = loss(chance)
    outcome(lambda: lasting(text), text)


def lasting(text: str) -> None:
    rendered = render(parse(text, LOSSES), LOSSES)
    assert render(parse(rendered, LOSSES), LOSSES) == rendered


PARTS = [
    "1",
    "0.5",
    "-1",
    "1e400",
    "true",
    "None",
    "'x'",
    "'\\d'",
    '"é"',
    "(1, 2)",
    "[0.5]",
    "{}",
    "{[]}",
    "{**1}",
]
PARTS += [
    "*a",
    "1j",
    "1_0",
    "1or 2",
    "f'{1}'",
    "...",
    "(a := 1)",
    "~1",
    "x.y",
    "constant",
    "cosine()",
]
PARTS += ["cosine(warmup=3)", "cosine(3)"]
PARTS += ["cosine(warmup=cosine())", "milestones(at=[0.5, 0.9])", "exponential(decay=2)"]
DEEP = [
    "+".join(["ce"] * 20_000),
    "mixup(" * 140 + "ce" + ")" * 140,
    "(" * 400 + "ce" + ")" * 400,
    "ce" + ".a" * 450,
]


def loss(chance: random.Random, depth: int = 0) -> str:
    """An expression much like those that are meant, or characters."""
    if depth == 0 and chance.random() < 0.3:
        length = chance.randint(0, 30)
        codes = [chance.randrange(1 << chance.choice((5, 7, 16, 20))) for _ in range(length)]
        signs = "".join(chr(code) for code in codes)
        return chance.choice(
            [signs, "9" * 900, "0x" + "f" * 900, f"ce(smoothing={'-' * 900}1)", *DEEP]
        )
    terms = []
    for _ in range(chance.choice([1, 1, 2])):
        name = chance.choice([*LOSSES, *LOSSES, "x", "ce()", ""])
        fields = (
            [field.name for field in dataclasses.fields(LOSSES[name])] if name in LOSSES else []
        )
        options = [
            f"{chance.choice([*fields, 'x'])}={chance.choice(PARTS)}"
            for _ in range(chance.randint(0, 2))
        ]
        inner = [loss(chance, depth + 1)] if chance.random() < 0.3 and depth < 4 else []
        call = f"{name}({', '.join([*inner, *options])})"
        terms.append(chance.choice([name, call]))
    return " + ".join(terms)


SIZES = [
    "0",
    "1",
    "-1",
    "3",
    "nan",
    "inf",
    "1e308",
    "0.5",
    "4611686018427387904",
    "9223372036854775807",
    "[3.5,4,4]",
]
SIZES += [
    "1000000000000",
    "{}",
    "'x'",
    "true",
    "[]",
    "[3]",
    "[3,5,4]",
    "[0,0,0]",
    "[-1,4,4]",
    "[1000000,1000000,99]",
]
OPTIONS = {name: list(SOURCES[name].options) for name in ("digits", "synthetic")}


def check_data(chance: random.Random, folder) -> None:
    name = chance.choice(list(OPTIONS))
    small = ["train=40", "test=10", "shape=[1,6,6]"] if name == "synthetic" else []
    strange = [
        f"{chance.choice(OPTIONS[name])}={chance.choice(SIZES)}"
        for _ in range(chance.randint(1, 2))
    ]
    given = [f"data.name={name}", *(f"data.options.{option}" for option in small + strange)]
    limit = chance.choice(["train_limit", "test_limit"])
    size = chance.choice(SIZES)
    if chance.randint(0, 1):
        given.append(f"data.{limit}={size}")
    outcome(lambda: loaded(given), given)


def loaded(given: list[str]) -> None:
    resolved = schema.resolve(config.override({}, given))
    assert len(build.load_data(resolved.data, resolved.seed).train)


CHECKS = {
    "text": (check_text, 600),
    "file": (check_file, 600),
    "overrides": (check_overrides, 800),
    "loss": (check_loss, 2000),
    "data": (check_data, 500),
}


@pytest.mark.parametrize("check", CHECKS)
def test_whatever_is_given_is_understood_or_refused_in_one_line(tmp_path, check):
    action, cases = CHECKS[check]
    for seed in range(cases):
        action(random.Random(seed), tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("check", CHECKS)
def test_whatever_else_is_given_is_understood_or_refused_in_one_line(tmp_path, check):
    action, cases = CHECKS[check]
    for seed in range(10**6, 10**6 + 50 * cases):
        action(random.Random(seed), tmp_path)


def test_every_wrong_value_of_every_option_is_refused_in_one_line_or_right():
    for line in LINES:
        if "=" in line:
            for value in [*NUMBERS[::2], "true", "'x'", "[1, 'a']", "{}"]:
                text = TEXT.replace(line, f"{line.split(' =')[0]} = {value}", 1)
                outcome(lambda text=text: understood(config.parse(text, "text")), text)


NOT_FROM_TOML = [
    None,
    object(),
    int,
    Config,
    print,
    b"cnn",
    {1, 2},
    {1: 2},
    {None: 3},
    {"name": None},
    {"name": "cnn", 4: 5},
    (),
    (1, "x"),
    10**30,
    -(10**30),
    float("nan"),
    1j,
    Decimal("0.5"),
    Path("x"),
    np.float64(0.5),
    np.int64(3),
    np.bool_(True),
    np.ones(2),
    np.array(["cnn"]),
    Adam(),
    Cosine(),
    FedAvg(),
]


def test_every_python_object_in_a_dict_is_refused_in_one_line_or_lasts():
    places = [*config.flat(config.parse(TEXT, "text")), *SECTIONS[1:], "local.loss", "x", "model.x"]
    for place in places:
        for value in NOT_FROM_TOML:
            raw = value
            for name in reversed(place.split(".")):
                raw = {name: raw}
            outcome(lambda raw=raw: understood(raw), raw)


@pytest.mark.parametrize(
    "base", ["\\u0000", "", "/", "x" * 5000, "a.toml", "sub/../a.toml", "/dev/zero", "\\u001b"]
)
def test_extends_that_lead_nowhere_or_for_ever_are_refused(tmp_path, base):
    (tmp_path / "a.toml").write_text(f'extends = "{base}"', encoding="utf-8")
    (tmp_path / "sub").mkdir()
    with pytest.raises(BadInput) as caught, no_loop():
        config.read(tmp_path / "a.toml")
    assert str(caught.value).isprintable()


def test_a_chain_of_extends_without_end_is_refused(tmp_path):
    for i in range(3000):
        (tmp_path / f"{i}.toml").write_text(f'extends = "{i + 1}.toml"')
    with pytest.raises(BadInput, match="in a chain"):
        config.read(tmp_path / "0.toml")


def test_a_config_larger_than_any_is_refused(tmp_path):
    with (tmp_path / "a.toml").open("wb") as stream:
        os.truncate(stream.fileno(), 1 << 40)
    with pytest.raises(BadInput, match="bytes at most; got more"):
        config.read(tmp_path / "a.toml")
