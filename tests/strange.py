"""Values, keys and TOML files as slips, other programs and ill will make them, most of them nearly
right.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

from mpifl.runner import schema

TEXT = schema.text(schema.resolve({}))
LINES = [line for line in TEXT.splitlines() if line]

NUMBERS = [
    "0",
    "1",
    "-1",
    "2",
    "0.5",
    "nan",
    "inf",
    "-inf",
    "1e308",
    "1e-320",
    "-0.0",
    "10000",
    "2147483648",
]
NUMBERS += ["9223372036854775807", "9223372036854775808"]
TEXTS = [
    "",
    "x",
    "ce",
    "cnn",
    "resnet56",
    "scaffold",
    "synthetic",
    "../x",
    "/",
    "\\u0000",
    "\\n\\u001b[31m",
    "é漢",
]
OTHERS = ["true", "[]", "[1, 'a']", "[[[]]]", "{}", "{name = 'x'}", "{name = 3}"]
OTHERS += ["1979-05-27T07:32:00Z", "1979-05-27", "07:32:00", "1979-99-99"]
HUGE = [
    "1" + "0" * 400,
    "9" * 5000,
    "0x" + "f" * 6000,
    "[" * 3000 + "]" * 3000,
    "{a=" * 30 + "1" + "}" * 30,
]
HUGE += ["(" * 9999, '"' + "x" * 9999 + '"']
VALUES = [*NUMBERS, *(f'"{text}"' for text in TEXTS), *OTHERS, *HUGE]
KEYS = [
    "",
    "x",
    "name",
    '"a\\nb"',
    '"\\u001b[31m"',
    "k" * 9999,
    "a." * 2000 + "a",
    "é",
    '"',
    "[",
    "]]",
]
SECTIONS = [
    "",
    "local",
    "data",
    "data.augment",
    "data.options",
    "participation",
    "results",
    "published",
]
SECTIONS += schema.TABLES


def key(chance: random.Random) -> str:
    """A dotted key, most often one that exists somewhere."""
    section = chance.choice(SECTIONS)
    kinds = list(schema.TABLES.get(section, {}).values())
    names = [field.name for field in dataclasses.fields(chance.choice(kinds))] if kinds else []
    known = [line.split(" =")[0] for line in LINES if "=" in line]
    return f"{section}.{chance.choice([*KEYS, *known, *(5 * names)])}".removeprefix(".")


def changed(lines: Sequence[str], chance: random.Random) -> str:
    """The text of a TOML file with some lines changed."""
    lines = list(lines)
    for _ in range(chance.randint(1, 3)):
        i = chance.randrange(len(lines))
        lines[i] = chance.choice(
            [
                f"{lines[i].split(' =')[0]} = {chance.choice(VALUES)}",
                f"{lines[i].split(' =')[0]} = {chance.choice(VALUES)}",
                f"{key(chance)} = {chance.choice(VALUES)}\n{lines[i]}",
                f"{lines[i]}\n{chance.choice(lines)}",
                "".join(chance.sample(lines[i], len(lines[i]))),
                "",
            ]
        )
    return "\n".join(lines)
