"""A sweep says what there is of each run; its runs can be run one by one, and twice."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from mpifl.cli import main
from mpifl.runner.announce import conclude
from mpifl.store import Run

BASE = """
rounds = 2
clients = 4
data = { name = "digits", train_limit = 200, test_limit = 50 }
model = { name = "mlp", hidden = [8] }
"""
SWEEP = """
base = "base.toml"
out = "out"
[cases.method.avg]
algorithm = "fedavg"
[cases.method.dyn]
algorithm = { name = "feddyn", alpha = 0.01 }
[grid]
seed = [1, 2]
"""


@pytest.fixture
def folder(elsewhere) -> Path:
    """The working directory, with a sweep of four runs."""
    (elsewhere / "base.toml").write_text(BASE)
    (elsewhere / "sweep.toml").write_text(SWEEP)
    return elsewhere


def sweep(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["sweep", "sweep.toml", *arguments])


def states() -> list[str]:
    return [line.split("\t")[1] for line in sweep("--list").stdout.splitlines()]


def test_a_sweep_is_run_task_by_task_and_says_what_is_missing(folder):
    assert sweep("--missing").stdout == "0-3\n"
    assert sweep("--task", "1").exit_code == 0
    assert states() == ["missing", "done", "missing", "missing"]
    assert sweep("--missing").stdout == "0,2-3\n"
    assert sweep("--list", "--task", "1").stdout == "1\tdone\tout/avg_seed=2\n"
    table = sweep().stdout
    assert table.startswith("4 runs in out: 1 done, 0 partial, 3 missing\n")
    assert table.count("2 of 2") == 1
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["avg_seed=2"]


@pytest.mark.slow
def test_a_run_with_rounds_to_go_is_partial_and_goes_on(folder):
    assert sweep("--task", "3").exit_code == 0
    (folder / "base.toml").write_text(BASE.replace("rounds = 2", "rounds = 3"))
    assert states() == ["missing", "missing", "missing", "partial"]
    assert sweep("--missing").stdout == "0-3\n"
    assert sweep("--task", "3").exit_code == 0
    assert Run.open("out/dyn_seed=2").rounds["round"].tolist() == [1, 2, 3]
    assert states()[3] == "done"


def test_all_runs_train_in_turn_also_those_after_one_that_diverges(folder):
    rates = 'base = "base.toml"\n[grid]\nlocal.lr = [1e30, 0.1]\n'
    (folder / "sweep.toml").write_text(rates)
    done = sweep("--all")
    assert done.exit_code == 3
    assert done.stderr.startswith("mpifl: task 0: round 1, client 0: its training loss is not")
    assert states() == ["partial", "done"]
    again = sweep("--all")
    assert again.exit_code == 3
    assert again.stdout.endswith("mpifl: runs/sweep/lr=0.1 is done\n")


def test_a_run_that_is_stopped_is_the_last_one(folder, monkeypatch):
    monkeypatch.setattr("mpifl.runner.session.run", lambda *_: 75)
    assert sweep("--all").exit_code == 75
    (folder / "sweep.toml").write_text(SWEEP.replace("seed = [1, 2]", "seed = [-1]"))
    refused = sweep("--all")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("mpifl: avg: seed: expected greater")


@pytest.mark.parametrize("goes_on, end", [(True, "command\n"), (False, "command with --resume\n")])
def test_a_stopped_run_says_by_which_command_it_goes_on(tmp_path, capsys, goes_on, end):
    conclude(tmp_path, SimpleNamespace(stopped="SIGTERM", round=3), goes_on)
    said = "stopped by SIGTERM after round 3; to resume: the same "
    assert capsys.readouterr().out == said + end


def test_where_all_is_done_nothing_is_missing(folder):
    (folder / "sweep.toml").write_text('base = "base.toml"')
    assert sweep("--task", "0").exit_code == 0
    nothing = sweep("--missing")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert nothing.stderr == "mpifl: all 1 runs of sweep.toml are done\n"
    assert Run.open("runs/sweep/base").status == "complete"


@pytest.mark.parametrize("arguments", [[], ["--missing"], ["--list"], ["--task", "0"]])
def test_a_run_begun_with_other_options_is_refused(folder, arguments):
    assert sweep("--task", "0").exit_code == 0
    (folder / "base.toml").write_text(BASE.replace("clients = 4", "clients = 5"))
    refused = sweep(*arguments)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith(
        "mpifl: out/avg_seed=1: clients: expected 4, as the run was begun; got 5"
    )


MISTAKES = {
    "seed = [1, -1]": "avg_seed=-1: seed: expected greater than or equal to 0; got -1",
    "local.epoch = [1]": "avg: local.epoch: unknown key; did you mean epochs?",
    'data.path = ["nowhere.h5"]': "data.path: expected a data file; got nothing at ",
}


@pytest.mark.parametrize(("grid", "line"), MISTAKES.items(), ids=list(MISTAKES))
def test_no_run_starts_while_another_is_wrong(folder, grid, line):
    (folder / "sweep.toml").write_text(SWEEP.replace("seed = [1, 2]", grid))
    for arguments in (["--task", "0"], ["--missing"]):
        refused = sweep(*arguments)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert refused.stderr.startswith(f"mpifl: {line}")
    assert not (folder / "out").exists()


def test_wrong_calls_are_refused_in_one_line(folder):
    assert (
        sweep("--task", "4").stderr
        == "mpifl: --task: expected 0 to 3, the numbers of the sweep's runs; got 4\n"
    )
    assert sweep("--missing", "--list").exit_code == 2
    assert sweep("--all", "--task", "0").exit_code == 2
    nowhere = CliRunner().invoke(main, ["sweep", "nowhere.toml"])
    assert nowhere.stderr.startswith("mpifl: nowhere.toml: expected a config")


GROWN = SWEEP + "local.lr = [0.1]\nrounds = [2]\n"


def shas(folder: Path) -> dict[str, str]:
    return {path.parent.name: Run.open(path.parent).run_id for path in folder.glob("*/results.h5")}


def test_a_sweep_begun_under_the_names_of_the_first_version_goes_on(folder):
    (folder / "sweep.toml").write_text(GROWN)
    old = "out/avg_seed=1_lr=0.1_rounds=2"
    words = ["algorithm=fedavg", "seed=1", "local.lr=0.1", f"name={Path(old).name}", "--out", old]
    assert CliRunner().invoke(main, ["run", "base.toml", *words]).exit_code == 0
    begun = shas(folder / "out")
    assert sweep("--list").stdout.splitlines()[:2] == [
        f"0\tdone\t{old}",
        "1\tmissing\tout/avg_seed=2",
    ]
    assert sweep("--missing").stdout == "1-3\n"
    again = sweep("--task", "0")
    assert (again.exit_code, again.stdout) == (0, f"mpifl: {old} is done\n")
    assert shas(folder / "out") == begun


def test_a_run_goes_on_though_its_name_changes_because_an_option_gets_a_second_value(folder):
    assert sweep("--task", "1").exit_code == 0
    begun = shas(folder / "out")
    assert set(begun) == {"avg_seed=2"}
    (folder / "sweep.toml").write_text(SWEEP + "local.lr = [0.1, 0.2]\nrounds = [2, 3]\n")
    lines = [line.split("\t") for line in sweep("--list").stdout.splitlines()]
    assert [line for line in lines if line[1] != "missing"] == [["4", "done", "out/avg_seed=2"]]
    assert lines[5][2] == "out/avg_seed=2_lr=0.1_rounds=3"
    assert sweep("--task", "4").stdout == "mpifl: out/avg_seed=2 is done\n"
    assert shas(folder / "out") == begun


PLUGIN = """
import mpifl
from mpifl.losses.loss import Loss
from mpifl.options import options

@mpifl.register("mine")
@options
class Mine(Loss):
    def __call__(self, step):
        return step.out.logits.square().mean()
"""


@pytest.mark.parametrize("place", ["base", "sweep"])
def test_plugins_of_a_sweep_are_relative_to_the_file_that_names_them(folder, place):
    plugins = 'plugins = ["mine.py"]\n'
    files = {"base": plugins + BASE, "sweep": BASE}
    inner = folder / "sweeps"
    inner.mkdir()
    (inner / "mine.py").write_text(PLUGIN)
    (inner / "base.toml").write_text(files[place])
    common = 'local.loss = "ce + mine"\n' + (plugins if place == "sweep" else "")
    grid = f'base = "base.toml"\nout = "out"\n[common]\n{common}[grid]\nseed = [1, 2]\n'
    (inner / "sweep.toml").write_text(grid)

    def list_runs() -> Result:
        return CliRunner().invoke(main, ["sweep", "sweeps/sweep.toml", "--list"])

    done = CliRunner().invoke(main, ["sweep", "sweeps/sweep.toml", "--task", "1"])
    assert done.exit_code == 0, done.output
    assert [line.split("\t")[1] for line in list_runs().stdout.splitlines()] == ["missing", "done"]
    (inner / "mine.py").write_text(PLUGIN + "# edited\n")
    refused = list_runs()
    assert refused.exit_code == 2
    assert "out/seed=2: plugins: expected mine.py (SHA-256 " in refused.stderr
