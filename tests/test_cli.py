"""The command line: bad input ends in one line and exit code 2, before any file is made."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import pytest
from click.testing import CliRunner, Result

from mpifl.cli import main
from mpifl.store import Run

CONFIG = """
name = "small"
rounds = 1
clients = 4
[data]
name = "digits"
train_limit = 200
[partition]
name = "dirichlet"
alpha = 0.5
[model]
name = "mlp"
hidden = [8]
"""


@pytest.fixture
def folder(elsewhere) -> Path:
    """The working directory, with a good config, broken ones, and files that are something else."""
    (elsewhere / "good.toml").write_text(CONFIG)
    (elsewhere / "syntax.toml").write_text("rounds = \nclients = 4")
    (elsewhere / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    (elsewhere / "here.toml").write_text('extends = "there.toml"')
    (elsewhere / "there.toml").write_text('extends = "here.toml"')
    (elsewhere / "orphan.toml").write_text('extends = "nowhere.toml"')
    (elsewhere / "text.h5").write_text("no data")
    with h5py.File(elsewhere / "other.h5", "w") as file:
        file["x"] = 1
    (elsewhere / "mine").mkdir()
    (elsewhere / "mine" / "notes.txt").touch()
    return elsewhere


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["run", *arguments])


def content(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


OPTIONS = {
    "lokal.lr=1": "lokal: unknown key; did you mean local?",
    "local.epoch=1": "local.epoch: unknown key; did you mean epochs?",
    "lr=0.1": "lr: unknown key; did you mean local.lr? allowed: name, ",
    "flip=0.5": "flip: unknown key; did you mean data.augment.flip? allowed: name, ",
    "alpha=0.1": "alpha: unknown key; did you mean partition.alpha? allowed: name, ",
    "model.widht=3": "model.widht: unknown key; ",
    "data.augment.flop=0.5": "data.augment.flop: unknown key; did you mean flip?",
    "local.lr=fast": "local.lr: expected a valid number; got 'fast'",
    "local.lr=nan": "local.lr: expected a finite number; got nan",
    "rounds=1.5": "rounds: expected a valid integer; got 1.5",
    "rounds=0": "rounds: expected greater than or equal to 1; got 0",
    "rounds.x=3": "rounds: expected a valid integer; got {'x': 3}",
    "local=3": "local: expected a table of options; got 3",
    "data=cifar10": (
        "data: expected a table of options; got 'cifar10'; did you mean { name = \"cifar10\" }?"
    ),
    "seed=-1": "seed: expected greater than or equal to 0; got -1",
    "seed=99999999999999999999": (
        "command line: seed: expected an integer of 64 bits; got a longer one"
    ),
    "clients=99999999999": "clients: expected less than or equal to ",
    "clients=201": (
        "partition.dirichlet: expected a sample for each of 201 clients; got 200 "
        "samples; lower clients"
    ),
    "partition.alpha=0": "partition.alpha: expected greater than or equal to ",
    "partition.alpha=-1": "partition.alpha: expected greater than or equal to ",
    "participation.fraction=0": "participation.fraction: expected greater than 0; got 0",
    "participation.fraction=0.2": (
        "participation.fraction: expected to pick at least one of 4 clients; got 0.2, which"
    ),
    'participation={kind="bernoulli", fraction=1e-9}': (
        "participation.fraction: expected to pick at least one of 4"
    ),
    "data.path=nowhere.h5": "data.path: expected a data file; got nothing at ",
    "data.path=text.h5": "data.path: expected a data file packed by `mpifl data`; got ",
    "data.path=other.h5": "data.path: expected a data file packed by `mpifl data`; got ",
    "data.path=mine": "data.path: expected a data file packed by `mpifl data`; got ",
    "data.name=mnist": (
        "data.path: expected a file packed by `mpifl data NAME --out FILE`, or data.name "
        "one of digits,"
    ),
    "data.train_limit=5000": "data.train: expected 1 to 1438 samples",
    "model.classes=100": "model.classes: expected 10, as many as the data has; got 100",
    "model.norm=bach": (
        "model.norm: expected 'batch', 'group', 'layer', 'scale', 'l2', 'shift', "
        "'weight' or 'none'; got 'bach'"
    ),
    "model=resnet65": "model.name: unknown name 'resnet65'; did you mean resnet56? allowed: ",
    "model.name=3": "model.name: unknown name 3; allowed: ",
    "algorithm=scafold": "algorithm.name: unknown name 'scafold'; did you mean scaffold? allowed: ",
    "partition=dirichlett": (
        "partition.name: unknown name 'dirichlett'; did you mean dirichlet? allowed: "
    ),
    "local.gradient=smas": "local.gradient.name: unknown name 'smas'",
    "local.loss=mann": "local.loss: unknown loss 'mann'; did you mean man? allowed: ce, ",
    "local.loss=ce +": (
        "local.loss: expected terms such as 'ce' or 'ce(smoothing=0.1)', joined by +; got 'ce +'"
    ),
    "local.loss=ce - ce": "local.loss: expected terms such as ",
    "local.loss=ce(0.1)": "local.loss: expected terms such as ",
    "local.loss=ce(smoothing=2.0)": (
        "local.loss: ce.smoothing: expected less than or equal to 1; got 2.0"
    ),
    "local.nesterov=true": "local.nesterov: expected a local.momentum above 0 with it; got 0.0",
    "name=../away": "name: expected ",
    "name=": "name: expected ",
    "rounds": "command line: expected key.path=value; got 'rounds'",
    "=3": "command line: expected key.path=value; got '=3'",
    "local..lr=3": "command line: expected key.path=value; got 'local..lr=3'",
}
CONFIGS = {
    "nowhere.toml": "nowhere.toml: expected a config file; got No such file or directory",
    "orphan.toml": "nowhere.toml: expected a config file; got No such file or directory",
    "here.toml": "here.toml: expected a chain of `extends` that ends; got a circle",
    "syntax.toml": "syntax.toml: expected TOML; got: Invalid value (at line 1, column 10)",
    "bytes.toml": "bytes.toml: expected TOML text in UTF-8; got other bytes",
    "mine": (
        "mine/results.h5: expected a run's folder, its results.h5 or a packed file; got "
        "No such file"
    ),
    "text.h5": (
        "text.h5: expected a run's folder, its results.h5 or a packed file; "
        "got something else than an "
        "HDF5 file"
    ),
}
PLACES = {
    "mine": "mine: expected an empty or new folder; got one with other files; choose another",
    "text.h5": (
        "text.h5: expected a folder for the run; got something that is not a folder; choose another"
    ),
    "text.h5/run": "text.h5/run: expected a path through folders; got ",
    "/proc/run": "/proc/run: expected a place to write; got ",
}
MISTAKES = [
    *((["good.toml", option], line) for option, line in OPTIONS.items()),
    *(([config], line) for config, line in CONFIGS.items()),
    *((["good.toml", "--out", place], line) for place, line in PLACES.items()),
]


@pytest.mark.parametrize(
    ("arguments", "line"), MISTAKES, ids=[" ".join(arguments) for arguments, _ in MISTAKES]
)
def test_a_mistake_is_one_line_and_exit_code_2_and_makes_no_file(folder, arguments, line):
    before = content(folder)
    result = run(*arguments)
    assert result.stderr.startswith(f"mpifl: {line}")
    assert result.stderr.count("\n") == 1
    assert (result.exit_code, result.stdout) == (2, "")
    assert content(folder) == before


def test_a_run_is_replaced_only_by_force_and_can_be_run_again_from_its_folder(folder):
    assert run("good.toml").exit_code == 0
    first = Run.open("runs/small")
    refused = run("good.toml")
    assert refused.exit_code == 2
    assert refused.stderr.startswith(
        "mpifl: runs/small: expected an empty or new folder; got a run; "
    )
    assert Run.open("runs/small").run_id == first.run_id
    assert run("good.toml", "--force").exit_code == 0
    assert Run.open("runs/small").run_id != first.run_id
    assert run("runs/small", "--out", "again").exit_code == 0
    assert Run.open("again").rounds["sha256"].tolist() == first.rounds["sha256"].tolist()


@pytest.mark.parametrize("command", ["run", "plan", "doctor"])
@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["--rounds", "3"], "--rounds. Options of the config are given as rounds=3"),
        (["--lr=0.5"], "--lr. Options of the config are given as local.lr=0.5"),
        (["--weights-every"], "as results.weights_every=VALUE"),
        (["--model.norm", "group"], "as model.norm=group"),
    ],
)
def test_an_option_of_the_config_given_as_a_flag_is_refused_with_what_was_meant(
    folder, command, given, meant
):
    before = content(folder)
    refused = CliRunner().invoke(main, [command, "good.toml", *given])
    assert refused.exit_code == 2
    assert refused.output.endswith(f"{meant}\n")
    assert content(folder) == before


def test_a_flag_that_is_no_option_of_the_config_is_refused_as_ever(folder):
    refused = CliRunner().invoke(main, ["run", "good.toml", "--frob", "3"])
    assert refused.exit_code == 2
    assert "No such option" in refused.output
    assert "Options of the config" not in refused.output


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["run", "--help"]])
def test_version_and_help_answer_at_once_and_import_nothing_heavy(arguments):
    program = (
        "import sys, time; from mpifl.cli import main; main(sys.argv[1:], standalone_mode=False);"
        "heavy = {'torch', 'mpi4py', 'h5py', 'numpy', 'rich', 'pydantic', 'matplotlib', 'plotly'};"
        "print(heavy & set(sys.modules)); print(time.process_time())"
    )
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    *_, imported, seconds = done.stdout.splitlines()
    assert imported == "set()"
    assert float(seconds) < 1  # of the processor's time: the machine may be busy


def test_help_lists_every_command_under_a_heading():
    text = CliRunner().invoke(main, ["--help"]).stdout
    headings = ["Run:", "Before a run:", "After a run:", "Data:", "Cluster:"]
    assert [line for line in text.splitlines() if line in headings] == headings
    listed = re.findall(r"^  ([a-z]+)  +\S", text, re.MULTILINE)
    assert listed[-len(main.commands) :] == list(main.commands)
    assert not re.search(r"^  [a-z]+  +\S.*\.\.\.$", text, re.MULTILINE), "a summary is cut off"


@pytest.mark.parametrize("name", main.commands)
def test_every_command_says_what_it_does_in_a_line_and_gives_an_example(name):
    command = main.commands[name]
    first = command.help.splitlines()[0]
    assert first.endswith(".") and len(first) < 80
    assert f"mpifl {name}" in CliRunner().invoke(main, [name, "--help"]).stdout.split("Usage")[1]


def test_bash_completes_commands():
    env = {
        **os.environ,
        "_MPIFL_COMPLETE": "bash_complete",
        "COMP_WORDS": "mpifl s",
        "COMP_CWORD": "1",
    }
    program = "from mpifl.cli import main; main(prog_name='mpifl')"
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    assert done.stdout.split() == ["plain,sweep", "plain,schema", "plain,show"]


def test_a_tilde_that_the_shell_has_left_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["configs", "--out=~/mine"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "mine").is_dir()
    assert not (tmp_path / "~").exists()


def interrupted_import(folder: Path, after: str, **options: Any) -> subprocess.CompletedProcess:
    """`python -m mpifl` that gets a SIGINT while it imports click, and then does `after`."""
    (folder / "click.py").write_text(
        f"import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\n{after}\n"
    )
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "mpifl", "--help"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        **options,
    )


def test_an_interrupt_while_the_command_is_imported_ends_it_as_shells_expect(tmp_path):
    def handle() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a test in the background would ignore it

    done = interrupted_import(tmp_path, "time.sleep(600)", preexec_fn=handle)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")  # 130 in a shell


def test_an_interrupt_that_is_ignored_stays_so_while_the_command_is_imported(tmp_path):
    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    done = interrupted_import(tmp_path, "raise SystemExit(7)", preexec_fn=ignore)
    assert done.returncode == 7
