"""`mpifl run --resume` over other data, partitions, paths and machines than the run began with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hdf5_editing import edited

from mpifl.cli import main
from mpifl.store import Run, Store

pytestmark = pytest.mark.slow

CONFIG = """
rounds = 2
clients = 4
model = { name = "mlp", hidden = [8] }
[data]
path = "data.h5"
"""


@pytest.fixture
def folder(elsewhere, monkeypatch) -> Path:
    """The working directory, with packed data and a config that names them."""
    (elsewhere / "config.toml").write_text(CONFIG)
    monkeypatch.setenv("STAGED", str(elsewhere / "staged"))
    pack()
    return elsewhere


def pack(seed: int = 0, train: int = 120, out: str = "data.h5") -> None:
    command = ["data", "synthetic", "--out", out, "--force"]
    for option in (f"seed={seed}", f"train={train}", "test=40", "shape=[1, 6, 6]", "classes=4"):
        command += ["--option", option]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output


def run(out: str, *more: str) -> Result:
    return CliRunner().invoke(main, ["run", "config.toml", "--out", out, *more])


def files(out: str) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path(out).rglob("*") if path.is_file()}


def digests(out: str) -> list[str]:
    return Run.open(out).rounds["sha256"].tolist()


def assert_is_refused_untouched(out: str, *more: str, words: str) -> None:
    before = files(out)
    refused = run(out, "--resume", *more)
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1), refused.output
    assert words in refused.stderr
    assert files(out) == before


@pytest.mark.parametrize("other", [{"seed": 1}, {"train": 160}], ids=["images", "more samples"])
def test_data_packed_anew_under_the_same_path_are_refused(folder, other):
    assert run("out").exit_code == 0
    pack(**other)
    assert_is_refused_untouched("out", "rounds=4", words="data: expected those that the run was")


def test_the_same_data_under_another_path_are_accepted_again_and_again(folder, monkeypatch):
    assert run("whole", "rounds=4").exit_code == 0
    assert run("out").exit_code == 0
    Path("staged").mkdir()
    shutil.move("data.h5", "staged/other-name.h5")
    staged = "data.path=$STAGED/other-name.h5"
    with monkeypatch.context() as killed:  # after the folder is taken over, before a checkpoint
        killed.setattr(Store, "append", lambda *_: pytest.fail("killed"))
        assert run("out", "rounds=4", staged, "--resume").exit_code == 1
    Path("staged").rename("elsewhere")
    moved = run("out", "rounds=4", "data.path=elsewhere/other-name.h5", "--resume")
    assert moved.exit_code == 0, moved.output
    assert digests("out") == digests("whole")


def test_a_partition_of_another_run_is_compared_by_what_it_says_not_by_its_path(folder):
    given = ["partition.name=dirichlet", "rounds=1"]
    assert run("source", *given, "partition.alpha=0.5").exit_code == 0
    config = f'{CONFIG}[partition]\nname = "run"\npath = "source"\n'
    Path("config.toml").write_text(config)
    assert run("out").exit_code == 0
    Path("config.toml").write_text(CONFIG)
    shutil.move("source", "kept")
    assert run("source", *given, "partition.alpha=5.0").exit_code == 0
    Path("config.toml").write_text(config)
    assert_is_refused_untouched("out", "rounds=3", words="partition: expected that of the run")
    resumed = run("out", "rounds=3", "partition.path=kept", "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert len(digests("out")) == 3


def test_a_run_that_stored_no_checksum_of_its_data_is_resumed_by_path_and_partition(folder):
    assert run("out").exit_code == 0

    with edited(Path("out/results.h5")) as file:
        for name in ("data_checksum", "data_mean", "data_std"):
            del file["provenance"].attrs[name]
    shutil.copy("data.h5", "copy.h5")
    assert_is_refused_untouched("out", "rounds=3", "data.path=copy.h5", words="data.path: expected")
    resumed = run("out", "rounds=3", "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert "stored no checksum of its data: compared were the partition" in resumed.stdout
    pack(train=160)
    assert_is_refused_untouched("out", "rounds=4", words="partition: expected that of the run")


def test_other_software_and_devices_than_at_the_start_are_told(folder):
    assert run("out").exit_code == 0
    same = run("out", "rounds=3", "--resume")
    assert "was begun with" not in same.stdout

    with edited(Path("out/results.h5")) as file:
        file["provenance"].attrs["version_torch"] = "1.13.1"
        file["provenance"].attrs["processor"] = ["A chip, family 25, model 1"]
        file["provenance"].attrs["device"] = ["cuda:0 (A card)", "cuda:1 (A card)"]
    told = run("out", "rounds=4", "--resume").stdout
    assert "processor: " in told and "begun with A chip, family 25, model 1" in told
    assert "torch: " in told and "where the run was begun with 1.13.1" in told
    assert "where the run was begun with cuda (A card)" in told


@pytest.mark.parametrize("text", ["$STAGED/data.h5", "${STAGED}/data.h5", "~/data.h5"])
@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_path_of_data_may_have_variables_and_a_home(folder, monkeypatch, text, command):
    monkeypatch.setenv("HOME", str(folder / "staged"))
    Path("staged").mkdir()
    shutil.move("data.h5", "staged/data.h5")
    done = CliRunner().invoke(main, [command, "config.toml", "rounds=1", f"data.path={text}"])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    "option",
    ["data.path", "partition.path", "runtime.states_folder"],
)
def test_a_variable_that_is_not_set_is_refused_by_its_name(folder, option):
    more = ["partition.name=run"] if option == "partition.path" else []
    refused = run("out", *more, f"{option}=$NOWHERE_AT_ALL/x")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert f"{option}: expected" in refused.stderr and "NOWHERE_AT_ALL" in refused.stderr
    assert not Path("out").exists()


def test_a_config_that_another_extends_may_be_named_by_a_variable(folder, monkeypatch):
    monkeypatch.setenv("CONFIGS", str(folder))
    Path("other.toml").write_text('extends = "$CONFIGS/config.toml"\nrounds = 1\n')
    assert CliRunner().invoke(main, ["run", "other.toml", "--out", "out"]).exit_code == 0
    Path("wrong.toml").write_text('extends = "$NOWHERE_AT_ALL/config.toml"\n')
    refused = CliRunner().invoke(main, ["run", "wrong.toml", "--out", "other"])
    assert refused.exit_code == 2 and "NOWHERE_AT_ALL" in refused.stderr
