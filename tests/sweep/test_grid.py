"""A sweep file becomes named runs; whatever is wrong with it is one line that says where."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpifl.algorithms.feddyn import FedDyn
from mpifl.options import BadInput
from mpifl.runner import schema
from mpifl.sweep import grid

SWEEP = """
base = "base.toml"
out = "all"
[cases.method.fedavg]
algorithm = "fedavg"
[cases.method.feddyn-man]
algorithm = { name = "feddyn", alpha = 0.01 }
local.loss = "ce + man(zeta=0.15)"
[grid]
partition.alpha = [0.1, 0.3]
seed = [1, 2, 3]
"""


def runs(folder: Path, text: str) -> list[grid.SweepRun]:
    (folder / "base.toml").write_text('algorithm = "scaffold"\nrounds = 7')
    (folder / "sweep.toml").write_text(text)
    return grid.read(folder / "sweep.toml")


def names(folder: Path, text: str) -> list[str]:
    return [run.name for run in runs(folder, text)]


def test_the_runs_are_every_combination_the_last_line_fastest_and_named_by_what_differs(tmp_path):
    assert names(tmp_path, SWEEP) == [
        f"{method}_alpha={alpha}_seed={seed}"
        for method in ("fedavg", "feddyn-man")
        for alpha in (0.1, 0.3)
        for seed in (1, 2, 3)
    ]


def test_a_run_is_its_base_config_with_the_options_of_its_place_in_the_grid(tmp_path):
    run = runs(tmp_path, SWEEP)[10]
    config = schema.resolve(schema.raw(run.base, run.assignments))
    assert run.out == Path("all") / config.name == Path("all/feddyn-man_alpha=0.3_seed=2")
    assert (config.rounds, config.seed, config.partition.alpha) == (7, 2, 0.3)
    assert config.algorithm == FedDyn(alpha=0.01)
    assert config.local.loss == "ce + man(zeta=0.15)"


GRIDS = {
    "": ["base"],
    'model = ["cnn", { name = "mlp", hidden = [8] }]': ["cnn", "mlp,hidden=8"],
    'algorithm.name = ["fedavg", "fedprox"]': ["fedavg", "fedprox"],
    'algorithm.server_optimizer = ["adam", "yogi"]': ["adam", "yogi"],
    'algorithm.server_step = ["adam", "yogi"]': ["adam", "yogi"],
    "local.lr = [0.1, 1e-3]": ["lr=0.1", "lr=0.001"],
    "local.lr = [-1, 1]": ["lr=-1", "lr=1"],
    "seed = [1, 2]\nlocal.epochs = [2]": ["seed=1", "seed=2"],
    "seed = [1]\nlocal.epochs = [2]": ["base"],
    "algorithm.alpha = [1, 2]\npartition.alpha = [3, 4]": [
        "algorithm.alpha=1_partition.alpha=3",
        "algorithm.alpha=1_partition.alpha=4",
        "algorithm.alpha=2_partition.alpha=3",
        "algorithm.alpha=2_partition.alpha=4",
    ],
    'local.loss = ["ce + man(zeta=0.1)", "ce"]': ["loss=ce+man-zeta=0.1", "loss=ce"],
    'evaluation.models = [["cohort"], ["cohort", "all"]]': ["models=cohort", "models=cohort-,-all"],
    'evaluation = [{ every = 2, where = "shared" }, { every = 3 }]': [
        "every=2,where=shared",
        "every=3",
    ],
}


@pytest.mark.parametrize(("text", "expected"), GRIDS.items(), ids=map(str, GRIDS))
def test_names_are_short_and_fit_for_a_folder(tmp_path, text, expected):
    assert names(tmp_path, f'base = "base.toml"\n[grid]\n{text}') == expected


def test_several_bases_are_named_by_as_much_of_their_paths_as_differs(tmp_path):
    assert names(tmp_path, 'base = ["a/x.toml", "a/y.toml"]') == ["x", "y"]
    assert names(tmp_path, 'base = ["a/x.toml", "b/x.toml"]\n[grid]\nseed = [1, 2]') == [
        "a-x_seed=1",
        "a-x_seed=2",
        "b-x_seed=1",
        "b-x_seed=2",
    ]


def test_a_value_keeps_its_name_when_the_grid_grows(tmp_path):
    sweep = 'base = "base.toml"\n[grid]\nseed = [{}]'
    assert set(names(tmp_path, sweep.format("1, 2"))) < set(
        names(tmp_path, sweep.format("1, 2, 3"))
    )


def test_common_options_are_those_of_all_runs_and_of_no_name(tmp_path):
    common = "[common]\nrounds = 60\nlocal.lr = 0.5\nresults.weights_every = 0\n"
    for run in runs(tmp_path, f'base = "base.toml"\n{common}[grid]\nseed = [1, 2]'):
        config = schema.resolve(schema.raw(run.base, run.assignments))
        assert (config.rounds, config.local.lr, config.results.weights_every) == (60, 0.5, 0)
        assert run.name == f"seed={config.seed}"


def test_an_option_with_a_single_value_is_not_part_of_a_name(tmp_path):
    text = f"{SWEEP}local.lr = [0.001]\nrounds = [60]\n"
    assert names(tmp_path, text) == names(tmp_path, SWEEP)
    first = runs(tmp_path, text)[0]
    assert first.first_name == "fedavg_alpha=0.1_seed=1_lr=0.001_rounds=60"


NUMBERS = list(range(101))
MISTAKES = {
    "": "base: expected a value; got none",
    "base = 3": "base: expected a path in quotes, or a list of them; got 3",
    "base = []": "base: expected a path in quotes, or a list of them; got ()",
    'base = ["a.toml", "a.toml"]': "base: expected different configs; got a.toml, a.toml",
    'base = "base.toml"\ngird = 3': (
        "gird: unknown key; did you mean grid? allowed: base, out, common, cases, grid"
    ),
    'base = "base.toml"\nout = 3': "out: expected a valid string; got 3",
    'base = "base.toml"\n[grid]\nseed = 3': "grid.seed: expected a list of values; got 3",
    'base = "base.toml"\n[grid]\nlocal.lr = []': "grid.local.lr: expected a list of values; got []",
    'base = "base.toml"\n[grid]\nseed = [1, 1]': "two runs seed=1; ",
    'base = "base.toml"\n[grid]\nname = ["a"]': "name: expected no name in a sweep",
    'base = "base.toml"\n[grid]\nseed = [1979-05-27]': (
        "seed: expected text, a number, true, false or a list; got "
    ),
    'base = "base.toml"\n[cases]\nx = {}': "cases.x: expected tables, one for each case; got none",
    'base = "base.toml"\n[cases.x]\n"a/b" = {}': "cases.x: expected names of letters, digits and ",
    'base = "base.toml"\n[cases.x]\n".." = {}': "cases.x: expected names of letters, digits and ",
    'base = "base.toml"\ncases = { x = 3 }': "expected a valid dictionary; got 3",
    'base = "base.toml"\n[grid]\nseed = [1]\n[cases.x]\na.seed = 2': "seed: expected it once, ",
    'base = "base.toml"\n[grid]\nmodel = ["cnn"]\n[cases.x]\na.model.name = "mlp"': (
        "model.name: expected it once, "
    ),
    f'base = "base.toml"\n[grid]\nlocal.loss = ["{"x" * 300}", "ce"]': (
        "expected a name of at most 200 characters; got 305"
    ),
    f'base = "base.toml"\n[grid]\nseed = {NUMBERS}\nrounds = {NUMBERS}': (
        "expected at most 10,000 runs; got 10,201"
    ),
}


@pytest.mark.parametrize(("text", "line"), MISTAKES.items(), ids=map(str, range(len(MISTAKES))))
def test_a_mistake_in_a_sweep_is_one_line(tmp_path, text, line):
    with pytest.raises(BadInput) as mistake:
        runs(tmp_path, text)
    assert line in str(mistake.value)
    assert "\n" not in str(mistake.value)


def test_the_sweep_that_comes_with_mpifl_is_that_of_the_documents_and_can_be_run():
    repository = Path(__file__).parents[2]
    assert "mpifl sweep configs/grid.toml " in (repository / "docs" / "commands.md").read_text(
        "utf-8"
    )
    made = grid.read(repository / "configs" / "grid.toml")
    assert [run.name for run in made][:3] == [
        "fedavg_alpha=0.1_seed=1",
        "fedavg_alpha=0.1_seed=2",
        "fedavg_alpha=0.3_seed=1",
    ]
    for run in made:
        assert schema.resolve(schema.raw(run.base, run.assignments)).rounds == 20
