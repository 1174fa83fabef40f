"""A run folder that somebody has sent never runs anything, whatever its plugins are called; what
needs no model works, and the rest runs with the plugin that the user gives.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import tomli_w
from click.testing import CliRunner, Result

from mpifl.analysis import reload_run
from mpifl.cli import main
from mpifl.config import toml
from mpifl.options import BadInput
from mpifl.runner import plugins
from mpifl.store import Run, StoredPlugin, atomic
from mpifl.store.hdf5_layout import results_image
from mpifl.store.reader import as_results

CONFIG = """
plugins = ["mine.py"]
rounds = 2
clients = 2
data = { name = "digits", train_limit = 40, test_limit = 20 }
model = { name = "mlp", hidden = [4] }
local.loss = "ce + mine"
results.clients_every = 1
"""
PLUGIN = """
import mpifl
from pathlib import Path
from mpifl.losses.loss import Loss
from mpifl.options import options

Path("{marker}").touch()

@mpifl.register("mine")
@options
class Mine(Loss):
    def __call__(self, step):
        return step.out.logits.square().mean()
"""


def train(folder: Path) -> None:
    """`run`, trained with a mine.py that is gone, and what its user's mpifl has noted of it."""
    folder.mkdir()
    with contextlib.chdir(folder):
        Path("mine.py").write_text(PLUGIN.format(marker="trained"), encoding="utf-8")
        Path("config.toml").write_text(CONFIG, encoding="utf-8")
        done = command("run", "config.toml", "--out", "run", state=folder / "theirs")
        assert done.exit_code == 0, done.output
        Path("mine.py").unlink()
        Path("config.toml").unlink()
        Path("trained").unlink()


@pytest.fixture(autouse=True)
def folder(once, elsewhere, monkeypatch) -> Iterator[Path]:
    """The working directory, with `run`: trained with mine.py, which is gone, by another user."""
    monkeypatch.setattr(plugins, "_loaded", {})
    shutil.copytree(once("foreign-run", train), elsewhere, dirs_exist_ok=True)
    become_another_user(monkeypatch, elsewhere)
    yield elsewhere
    plugins.use(())


def become_another_user(monkeypatch, folder: Path) -> None:
    """From now on: a process that has loaded no plugin, of a user who has trained with none."""
    plugins.use(())
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "ours"))


def command(*words: str, state: Path | None = None) -> Result:
    environment = {"COLUMNS": "200"}
    if state is not None:
        environment["XDG_STATE_HOME"] = str(state)
    return CliRunner().invoke(main, list(words), env=environment)


def line_of(result: Result) -> str:
    assert result.exit_code == 2, result.output
    [line] = [line for line in result.stderr.splitlines() if line.startswith("mpifl: ")]
    return line


READING = [
    ["show", "run"],
    ["show", "run", "--config"],
    ["show", "run", "--plugin-text", "mine.py"],
    ["table", "run"],
    ["curves", "run", "-o", "curves.csv"],
    ["features", "run", "--what", "drift", "--rounds", "2", "--format", "csv"],
    ["note", "run", "a note"],
    ["pack", "run", "-o", "packed.h5"],
    ["reseal", "run"],
]
"""commands that need no model"""
BUILDING = [
    ["hessian", "run"],
    ["features", "run"],
    ["landscape", "run"],
    ["finetune", "run"],
    ["plan", "run", "--no-timing"],
    ["run", "run", "--out", "again"],
    ["run", "run", "--out", "run", "--resume", "rounds=3"],
    ["sweep", "sweep.toml"],
    ["sweep", "sweep.toml", "--missing"],
]
"""commands that build it again"""
SWEEP = 'base = "run"\nout = "sweep"\n[grid]\nseed = [1, 2]\n'


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_what_needs_no_model_works_without_the_plugin(words):
    done = command(*words)
    assert done.exit_code == 0, done.output
    assert not Path("trained").exists()


@pytest.mark.parametrize("words", BUILDING, ids=" ".join)
def test_what_needs_the_model_names_the_plugin_and_its_digest(words):
    Path("sweep.toml").write_text(SWEEP)
    line = line_of(command(*words))
    [stored] = Run.open("run").plugins
    assert f"expected mine.py with SHA-256 {stored.sha256}" in line
    assert "mpifl show RUN --plugin-text mine.py" in line
    assert not Path("trained").exists()


def test_the_stored_text_has_the_digest_and_is_accepted_as_a_file(folder):
    done = command("show", "run", "--plugin-text", "mine.py")
    [stored] = Run.open("run").plugins
    assert sha256(done.stdout_bytes).hexdigest() == stored.sha256
    Path("read.py").write_bytes(done.stdout_bytes)
    measure = ["hessian", "run", "--samples", "20", "--quantities", "objective"]
    done = command(*measure, "--plugin", "read.py")
    assert done.exit_code == 0, done.output
    assert Path("trained").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["landscape", "run", "--dims", "1", "--points", "3", "--along", "random"],
        ["features", "run", "--format", "csv"],
        ["finetune", "run", "--epochs", "1"],
    ],
    ids=" ".join,
)
def test_others_take_the_file_too(words):
    Path("read.py").write_bytes(command("show", "run", "--plugin-text", "mine.py").stdout_bytes)
    done = command(*words, "--plugin", "read.py")
    assert done.exit_code == 0, done.output


def test_in_python_a_file_is_given_by_its_path():
    Path("read.py").write_bytes(command("show", "run", "--plugin-text", "mine.py").stdout_bytes)
    reloaded = reload_run(Run.open("run"), plugins=["read.py"])
    assert reloaded.config.local.loss.endswith("mine")


def test_a_packed_run_opens_where_the_plugin_is_absent():
    assert command("pack", "run", "-o", "packed.h5").exit_code == 0
    shutil.rmtree("run")
    assert Run.open("packed.h5").plugins[0].name == "mine.py"
    assert command("show", "packed.h5").exit_code == 0
    assert "expected mine.py with SHA-256" in line_of(command("hessian", "packed.h5"))


def test_a_file_with_another_text_is_refused_with_both_digests(folder):
    Path("other.py").write_text(PLUGIN.format(marker="harmed"))
    digest = sha256(Path("other.py").read_bytes()).hexdigest()
    line = line_of(command("hessian", "run", "--plugin", "other.py"))
    assert f"got other.py ({digest[:12]}...)" in line
    assert not Path("harmed").exists()


def test_the_user_who_has_trained_with_it_needs_to_give_nothing(folder, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "theirs"))
    measure = ["hessian", "run", "--samples", "20", "--quantities", "objective"]
    done = command(*measure)
    assert done.exit_code == 0, done.output


def test_a_recorded_plugin_that_was_edited_since_is_run_as_it_was(folder, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "theirs"))
    Path("mine.py").write_text(PLUGIN.format(marker="harmed"))
    done = command("hessian", "run", "--samples", "20", "--quantities", "objective")
    assert done.exit_code == 0, done.output
    assert Path("trained").exists()
    assert not Path("harmed").exists()


# --- a run folder made to do harm ---------------------------------------------------------------


def forge(entry: str, text: str, digest: str, name: str = "mine.py") -> None:
    """Rewrite the results of `run`: its config names `entry`, and it stores this text."""
    run = Run.open("run")
    config = {**toml(run.config, "config"), "plugins": [entry]}
    forged = replace(
        as_results(run),
        attributes={**run.attrs, "config": tomli_w.dumps(config)},
        plugins=[StoredPlugin(name, digest, "", text)],
    )
    atomic.write_hdf5(Path("run/results.h5"), results_image(forged))


EVIL = PLUGIN.format(marker="harmed")
DIGEST = sha256(EVIL.encode()).hexdigest()
ENTRIES = [
    "evil.py",
    "./evil.py",
    "run/evil.py",
    "../run/evil.py",
    "{folder}/run/evil.py",
    "run/linked.py",
    "evil",
    f"evil.py@{DIGEST}",
    f"evil@{DIGEST}",
    f"run/evil.py@{DIGEST}",
    f"{{folder}}/run/evil.py@{DIGEST}",
    f"run/linked.py@{DIGEST}",
    "../../../../etc/passwd",
]


@pytest.mark.slow
@pytest.mark.parametrize("entry", ENTRIES)
def test_no_command_runs_what_a_run_folder_names(folder, monkeypatch, entry):
    Path("run/evil.py").write_text(EVIL)
    Path("evil.py").write_text(EVIL)  # also in the current folder, which Python may search
    Path("run/linked.py").symlink_to(folder / "evil.py")
    Path("sweep.toml").write_text(SWEEP)
    monkeypatch.syspath_prepend(folder)
    forge(entry.format(folder=folder), EVIL, DIGEST)
    for words in READING:
        if "--plugin-text" not in words:
            assert command(*words).exit_code == 0, words
    for words in BUILDING:
        assert "plugins: expected " in line_of(command(*words))
    with pytest.raises(BadInput, match="plugins: expected "):
        reload_run(Run.open("run"))
    assert not Path("harmed").exists()


def test_a_text_under_a_digest_that_the_user_has_run_is_not_run_unless_it_has_it(
    folder, monkeypatch
):
    [stored] = Run.open("run").plugins
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "theirs"))  # who has trained with it
    forge(f"mine.py@{stored.sha256}", EVIL, stored.sha256)
    assert f"mine.py with SHA-256 {stored.sha256}" in line_of(command("hessian", "run"))
    assert not Path("harmed").exists()


def test_a_forged_text_is_printed_with_a_warning(folder):
    forge(f"mine.py@{'0' * 64}", EVIL, "0" * 64)
    done = command("show", "run", "--plugin-text", "mine.py")
    assert done.stdout == EVIL
    assert "warning: this is not the text of the SHA-256 that run stores" in done.stderr


def test_a_name_that_would_harm_a_shell_or_a_terminal_is_quoted():
    forge(f"\x1b[31m; rm -rf ~@{DIGEST}", EVIL, DIGEST)
    line = line_of(command("hessian", "run"))
    assert "--plugin-text '\\x1b[31m; rm -rf ~')" in line
    assert "\x1b" not in line
