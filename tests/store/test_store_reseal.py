"""Files are read-only; what is edited all the same is named, and accepted by `reseal`."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from damage import cut, overwrite
from store.stored import PATH, add_findings, add_round, create

from mpifl.cli import main
from mpifl.options import BadInput
from mpifl.store import Run, pack, readable
from mpifl.store.measurements import Finding, Findings
from mpifl.store.reseal import reseal


def make(folder: Path) -> None:
    """A run of four rounds, with findings."""
    store = create(folder)
    for round in (2, 4):
        add_round(store, round, save=True)
    store.close()
    add_findings(folder)


@pytest.fixture
def folder(once, tmp_path) -> Path:
    shutil.copytree(once("run-with-findings", make), tmp_path / "run")
    return tmp_path / "run"


def touch(file: Path, **attributes) -> None:
    """Open a file for writing as other programs do."""
    file.chmod(0o644)
    with h5py.File(file, "a") as content:
        content.attrs.update(attributes)


def hdf5_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.h5"))


def test_every_hdf5_file_is_written_read_only_with_the_read_bits_of_the_umask(folder, tmp_path):
    packed = pack(folder, tmp_path / "x.h5")
    files = [*hdf5_files(folder), packed]
    assert len(files) == 6
    umask = os.umask(0)
    os.umask(umask)
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o444 & ~umask


def test_a_read_only_run_is_replaced_added_to_packed_again_and_removed(folder, tmp_path):
    findings = Findings.open(folder)
    findings.add(f"{PATH}/trace", Finding({"trace": np.ones(())}, {"weights_sha256": "ab"}))
    pack(folder, tmp_path / "x.h5")
    pack(folder, tmp_path / "x.h5", force=True)
    store = create(folder, force=True)
    add_round(store, 2, save=True)
    store.close()
    assert Run.open(folder).saved_rounds == [2]
    assert not (folder / "hessian.h5").exists()
    subprocess.run(["rm", "-r", folder], check=True, stdin=subprocess.DEVNULL)
    assert not folder.exists()


@pytest.mark.parametrize("name", ["results.h5", "models/round_000004.h5"])
def test_a_file_opened_for_writing_is_called_edited_and_the_command_is_named(folder, name):
    touch(folder / name)
    with pytest.raises(BadInput, match="edited or opened for writing") as refused:
        Run.open(folder).weights()
    assert str(refused.value).endswith(f"mpifl reseal {folder / name}")


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (
            lambda file: cut(file, file.stat().st_size - 1),
            "an HDF5 file damaged or cut short at its end",
        ),
        (lambda file: cut(file, file.stat().st_size // 2), "an HDF5 file cut short"),
        (lambda file: cut(file, 0), "an empty file"),
        (lambda file: overwrite(file, file.read_bytes()[:-100] + bytes(100)), "an HDF5 file"),
        (lambda file: overwrite(file, bytes(5000)), "something else than an HDF5 file"),
    ],
)
def test_a_damaged_file_is_not_called_edited_and_not_resealed(folder, damage, what):
    file = folder / "results.h5"
    damage(file)
    before = file.read_bytes()
    for read in (Run.open, reseal):
        with pytest.raises(BadInput, match=f"got {what}") as refused:
            read(folder)
        assert "reseal" not in str(refused.value)
    assert file.read_bytes() == before


def test_a_flipped_bit_is_called_damage_and_not_resealed(folder):
    file = folder / "models" / "round_000004.h5"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    overwrite(file, content)
    for read in (lambda: Run.open(folder).weights(), lambda: reseal(folder)):
        with pytest.raises(BadInput, match="damaged or changed since it was written, within bytes"):
            read()


def test_a_file_of_another_program_is_called_so(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = np.arange(3)
    for read in (Run.open, reseal):
        with pytest.raises(BadInput, match="got an HDF5 file of another program"):
            read(tmp_path / "x.h5")


@pytest.mark.slow
def test_reseal_accepts_edited_files_and_marks_them(run):
    folder = run
    add_findings(folder)
    touch(folder / "results.h5", mine="a note")
    touch(folder / "models" / "round_000004.h5")
    touch(folder / "hessian.h5")
    touch(folder / "hessian" / "exact.round_000004.global.diagonal.h5")
    result = CliRunner().invoke(main, ["reseal", str(folder)])
    assert (result.exit_code, result.output.count("resealed")) == (0, 4)
    run = Run.open(folder)
    assert run.attrs["mine"] == "a note"
    assert "resealed" in run.attrs
    assert len(run.weights()[0]) == len(Run.open(folder).weights(2)[0])
    assert set(Findings.open(folder).under(PATH)) == {"eigenvalues"}
    shown = CliRunner().invoke(main, ["show", str(folder)]).output
    assert "by another program; accepted by mpifl reseal" in shown
    assert reseal(folder) == []


@pytest.mark.slow
def test_reseal_refuses_an_edited_file_that_is_no_longer_a_run(folder):
    file = folder / "results.h5"
    file.chmod(0o644)
    with h5py.File(file, "a") as content:
        del content["partition/offsets"]
    with pytest.raises(BadInput, match="offsets") as refused:
        reseal(folder)
    assert str(file) in str(refused.value)
    assert hdf5_files(folder) == sorted(set(hdf5_files(folder)))


def test_a_file_on_which_libhdf5_hangs_or_crashes_is_refused(folder, monkeypatch):
    file = folder / "results.h5"
    monkeypatch.setattr(readable, "_SECONDS", 0.0)
    with pytest.raises(BadInput, match="takes libhdf5 more than"):
        readable.check(file)
    monkeypatch.undo()
    monkeypatch.setattr(readable.sys, "executable", "/bin/false")
    with pytest.raises(BadInput, match="makes libhdf5 fail"):
        readable.check(file)


@pytest.mark.slow
def test_an_edited_file_with_a_damaged_part_is_refused(folder):
    file = folder / "models" / "round_000004.h5"
    touch(file)
    content = bytearray(file.read_bytes())
    place = content.index(b"TREE")
    content[place : place + 4] = b"XXXX"
    overwrite(file, content)
    with pytest.raises(BadInput, match="read whole"):
        reseal(folder)


def test_notes_are_kept_beside_the_run_shown_and_packed(folder, tmp_path):
    before = {file: file.read_bytes() for file in hdf5_files(folder)}
    for text in ("first", "second: größer"):
        assert CliRunner().invoke(main, ["note", str(folder), text]).exit_code == 0
    assert {file: file.read_bytes() for file in hdf5_files(folder)} == before
    packed = str(pack(folder, tmp_path / "x.h5"))
    assert CliRunner().invoke(main, ["note", packed, "third"]).exit_code == 0
    shown = CliRunner().invoke(main, ["show", packed]).output
    assert shown.index("first") < shown.index("second: größer") < shown.index("third")
    assert "second: größer" in CliRunner().invoke(main, ["show", str(folder)]).output
    create(folder, force=True).close()
    assert "second" not in CliRunner().invoke(main, ["show", str(folder)]).output
    assert len(list((folder / "notes").iterdir())) == 2


@pytest.mark.parametrize("text", ["", " \n", "x" * (1 << 17)])
def test_a_note_without_text_or_too_long_is_refused(folder, text):
    result = CliRunner().invoke(main, ["note", str(folder), text])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert not (folder / "notes").exists()
