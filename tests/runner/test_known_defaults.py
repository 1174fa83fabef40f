"""The list of defaults that `show` reads: it is right, and says the same as the options do."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib

import pytest

from mpifl import config as configs
from mpifl.runner import differences, known_defaults, published, schema

EXPERIMENTS = []
for path in sorted(published.CONFIGS.rglob("*.toml")):
    raw = configs.read(path)
    if "base" not in raw and "plugins" not in raw:  # no sweep, and no names but mpifl's own
        EXPERIMENTS.append(path)


def names() -> list[tuple[str, str]]:
    """Section and name, for each name of each section."""
    found = []
    for section, kinds in schema.TABLES.items():
        found += [(section, name) for name in kinds if (section, name) != ("partition", "run")]
    return found


def assert_same(raw: dict) -> None:
    """The list and the options find the same differences in the config that a run stores."""
    stored = tomllib.loads(schema.text(schema.resolve(raw)))
    assert repr(known_defaults.short(stored)) == repr(differences.short(schema.resolve(stored)))


def test_the_list_has_the_defaults_of_today():
    written = json.loads(known_defaults.FILE.read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(known_defaults.listed())), (
        "run python -m mpifl.runner.known_defaults"
    )


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_it_says_the_same_of_each_config_that_comes_with_mpifl(path):
    assert_same(schema.raw(str(path), ()))


@pytest.mark.parametrize(("section", "name"), names())
def test_it_says_the_same_of_each_name_of_each_section(section, name):
    raw: dict = {}
    inner = raw
    *outer, last = section.split(".")
    for part in outer:
        inner = inner.setdefault(part, {})
    inner[last] = {"name": name}
    if section.startswith("algorithm.rule"):
        raw["algorithm"]["name"] = "fedlesam"  # the only one that has it
    if section == "evaluation.average" and name != "none":
        raw["evaluation"]["models"] = ["average"]
    assert_same(raw)


@pytest.mark.parametrize(
    "raw",
    [
        {"local": {"loss": "ce"}},
        {"local": {"loss": "ce(smoothing=0.1)", "lr": 1}},
        {"model": {"name": "mlp", "hidden": [8, 4]}},
        {"evaluation": {"models": ["all"]}, "data": {"options": {"size": [2, 3]}}},
        {"algorithm": {"name": "scaffold", "server_optimizer": {"name": "adam", "lr": 0.5}}},
        {"published": {"paper": "x", "top1_acc": 50.0}, "rounds": 3},
    ],
    ids=str,
)
def test_it_says_the_same_of_options_that_differ(raw):
    if "options" in raw.get("data", {}):
        raw["data"]["name"] = "synthetic"
    assert_same(raw)


@pytest.mark.parametrize(
    "stored",
    [
        {"new": 1},
        {"local": {"new": 1}},
        {"model": {"name": "new"}},
        {"model": "mlp"},
        {"model": {"hidden": [8]}},
        {"partition": {"name": "run", "path": "x"}},
    ],
    ids=str,
)
def test_what_is_not_in_the_list_is_not_known(stored):
    with pytest.raises(known_defaults.Unknown):
        known_defaults.short(stored)


def test_it_is_read_without_torch():
    program = (
        "import sys; from mpifl.runner import known_defaults; "
        "known_defaults.short({'rounds': 3}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
