"""Checksums: libhdf5 sees only what mpifl wrote, and other programs read the files as usual."""

import ast
import io
import os
import random
import shutil
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest
from damage import overwrite

from mpifl.store import Run, atomic, checksum, pack


@cache
def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize(
    "size",
    [8, 1000, checksum.BLOCK - 1, checksum.BLOCK, checksum.BLOCK + 1, 3 * checksum.BLOCK + 7],
)
def test_any_piece_reads_as_it_was_written(tmp_path, size):
    image, places = content(size), random.Random(1)
    atomic.write_hdf5(tmp_path / "x", image)
    assert checksum.read_image(tmp_path / "x") == image
    with checksum.CheckedImage(tmp_path / "x") as file:
        assert file.seek(0, os.SEEK_END) == size and file.read(5) == b""
        for _ in range(50):
            first, last = sorted(places.randrange(size + 1) for _ in range(2))
            assert file.seek(first) == first and file.read(last - first) == image[first:last]
            assert file.tell() == last
        file.seek(0)
        assert io.BufferedReader(file).read() == image


def test_checksums_appended_in_place_are_those_written_with_an_image_in_memory(tmp_path):
    image = content(2 * checksum.BLOCK + 100)
    atomic.write_hdf5(tmp_path / "one", image)
    overwrite(tmp_path / "two", image)
    assert (
        atomic.append_trailer(tmp_path / "two")
        == checksum.verify(tmp_path / "one")
        == checksum.verify(tmp_path / "two")
    )
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert checksum.verify(tmp_path / "one")[0] == (tmp_path / "one").stat().st_size


def test_every_flipped_bit_and_every_cut_of_a_small_file_is_noticed(tmp_path):
    path = tmp_path / "x"
    atomic.write_hdf5(path, content(100))
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        overwrite(path, changed)
        with pytest.raises(checksum.InvalidFile, match="got (a |something else)"):
            checksum.verify(path)
    for size in range(len(whole)):
        overwrite(path, whole[:size])
        with pytest.raises(checksum.InvalidFile):
            checksum.verify(path)


def test_damage_is_met_where_it_is_and_only_there(tmp_path):
    path, image = tmp_path / "x", content(4 * checksum.BLOCK)
    atomic.write_hdf5(path, image)
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.seek(2 * checksum.BLOCK + 17)
        stream.write(b"changed")
    with checksum.CheckedImage(path) as file:
        assert file.read(2 * checksum.BLOCK) == image[: 2 * checksum.BLOCK]
        file.seek(3 * checksum.BLOCK)
        assert file.read() == image[3 * checksum.BLOCK :]
        for first, length in (
            (2 * checksum.BLOCK, checksum.BLOCK),
            (3 * checksum.BLOCK - 1, 1),
            (0, 4 * checksum.BLOCK),
        ):
            file.seek(first)
            with pytest.raises(
                checksum.InvalidFile,
                match=f"within bytes {2 * checksum.BLOCK} to {3 * checksum.BLOCK - 1}",
            ):
                file.read(length)


def test_blocks_that_changed_places_are_noticed(tmp_path):
    path, image = tmp_path / "x", content(2 * checksum.BLOCK)
    atomic.write_hdf5(path, image)
    end = path.read_bytes()[len(image) :]
    overwrite(path, image[checksum.BLOCK :] + image[: checksum.BLOCK] + end)
    with pytest.raises(checksum.InvalidFile):
        checksum.verify(path)


def test_libhdf5_tells_of_damage_met_while_it_reads(tmp_path):
    """At each of the places that it reads, so that none of its ways out of an error is a crash or a
    loop.
    """
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        file.attrs["text"] = "text " * 100
        for name in "abc":
            file[f"group/{name}"] = np.arange(200_000)
    atomic.write_hdf5(tmp_path / "x", image.getbuffer())
    whole = (tmp_path / "x").read_bytes()
    for first in range(0, len(image.getbuffer()), checksum.BLOCK):
        damaged = bytearray(whole)
        damaged[first : first + 100] = bytes(100)
        overwrite(tmp_path / "x", damaged)
        with (
            pytest.raises(checksum.InvalidFile, match="damaged"),
            checksum.opened(tmp_path / "x") as file,
        ):
            assert file.attrs["text"] and [file[f"group/{name}"][7:].sum() for name in "abc"]


def test_a_file_replaced_while_it_is_open_is_read_to_its_end(tmp_path):
    one, two = content(3 * checksum.BLOCK), content(3 * checksum.BLOCK + 1)
    atomic.write_hdf5(tmp_path / "x", one)
    with checksum.CheckedImage(tmp_path / "x") as file:
        start = file.read(10)
        atomic.write_hdf5(tmp_path / "x", two)
        assert start + file.read() == one
    assert checksum.read_image(tmp_path / "x") == two


def test_no_descriptor_is_left_open(tmp_path, run):
    before = len(os.listdir("/proc/self/fd"))
    overwrite(tmp_path / "x", b"\x89HDF\r\n\x1a\n" + bytes(100))
    for path in (tmp_path / "x", run / "results.h5"):
        for read in (checksum.verify, checksum.read_image, Run.open):
            with suppress(ValueError):
                read(path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_other_programs_read_files_with_checksums_and_follow_their_links(run, tmp_path):
    pack(run, tmp_path / "packed.h5")
    for path in (run / "results.h5", tmp_path / "packed.h5"):
        with h5py.File(path) as file:
            assert (file["models/round_000004/global"][...] == 4).all() and len(
                file["rounds/round"]
            ) == 5


@pytest.mark.skipif(shutil.which("h5dump") is None, reason="h5dump is not installed")
@pytest.mark.parametrize("file", ["results.h5", "models/round_000002.h5"])
def test_h5dump_reads_files_with_checksums(run, file):
    assert checksum.verify(run / file)
    dumped = subprocess.run(["h5dump", Path(run / file)], capture_output=True, text=True)
    assert dumped.returncode == 0 and dumped.stderr == "" and '"clients"' in dumped.stdout


def test_no_other_file_of_mpifl_lets_libhdf5_read_from_the_disk():
    """h5py.File only makes images (in memory, or where room is reserved) and looks at images that
    have been checked. Files without checksums are read in a process of their own (readable.py);
    edited results are looked at only after that process has read all of them.
    """
    found = []
    for path in sorted((Path(checksum.__file__).parent.parent).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        nodes = ast.walk(ast.parse(text)) if "h5py" in text else ()
        for node in nodes:
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "h5py.File":
                mode = ast.unparse(node.args[1]) if len(node.args) > 1 else "none"
                found += (
                    [(path.name, ast.unparse(node.args[0]))] if mode not in ("'w'", "'r+'") else []
                )
    assert found == [
        ("checksum.py", "image"),
        ("edited_results.py", "file"),
        ("packing.py", "io.BytesIO(image)"),
        ("readable.py", "path"),
    ]


def test_an_image_whose_file_cannot_be_opened_is_closed_when_it_is_collected(tmp_path):
    image = checksum.CheckedImage.__new__(checksum.CheckedImage)
    with pytest.raises(FileNotFoundError):
        image.__init__(tmp_path / "missing.h5")
    assert image.closed
