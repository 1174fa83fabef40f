import pytest
import torch

from mpifl.options import BadInput
from mpifl.parallel import devices
from mpifl.parallel.devices import configure, device_for, gpu_of, processor, threads_of


@pytest.mark.parametrize(
    ("workers", "gpus"), [(1, 1), (4, 4), (3, 4), (8, 4), (7, 4), (5, 2), (16, 8)]
)
def test_workers_of_a_node_spread_evenly_over_its_gpus(workers, gpus):
    given = [gpu_of(k, workers, gpus) for k in range(workers)]
    load = [given.count(gpu) for gpu in range(gpus)]
    assert max(load) - min(load) <= 1
    assert given[: min(workers, gpus)] == list(range(min(workers, gpus)))


def test_a_server_beside_workers_does_not_shift_them():
    assert [gpu_of(k, 4, 4) for k in range(4)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("workers", "gpus", "server"), [(3, 4, 3), (4, 4, 0), (5, 4, 1), (0, 4, 0)]
)
def test_the_server_takes_the_gpu_that_serves_the_fewest_workers(workers, gpus, server):
    assert gpu_of(None, workers, gpus) == server


@pytest.mark.parametrize("worker", [None, 0, 3])
def test_a_rank_that_was_granted_one_gpu_uses_it(worker):
    assert gpu_of(worker, 4, 1) == 0


@pytest.mark.parametrize("worker", [None, 0, 3])
def test_without_gpus_there_is_none(worker):
    assert gpu_of(worker, 4, 0) is None


@pytest.mark.parametrize(
    ("visible", "worker", "index"), [(4, 2, 2), (2, 3, 1), (1, 3, 0), (4, None, 0)]
)
def test_the_device_is_chosen_among_what_the_launcher_made_visible(
    monkeypatch, visible, worker, index
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: visible)
    assert device_for("auto", worker, 4) == torch.device("cuda", index)
    assert device_for("cpu", worker, 4) == torch.device("cpu")


def test_a_missing_gpu_is_an_error_for_a_worker_but_not_for_the_server(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(
        BadInput, match=r"runtime.device: expected a GPU on .*; got none .*allowed: auto, cpu, cuda"
    ):
        device_for("cuda", 0, 2)
    assert device_for("cuda", None, 2) == torch.device("cpu")


@pytest.mark.parametrize(
    ("asked", "granted", "threads"),
    [(0, None, 1), (0, "6", 6), (3, "6", 3), (0, "", 1), (0, "0", 1), (0, "2(x3)", 2), (0, "?", 1)],
)
def test_threads_are_what_is_asked_else_what_slurm_grants_else_one(asked, granted, threads):
    assert threads_of(asked, granted) == threads


def test_settling_sets_the_threads_whatever_the_launcher_did():
    configure(torch.device("cpu"), 2)
    assert torch.get_num_threads() == 2
    configure(torch.device("cpu"), 1)
    assert torch.get_num_threads() == 1


X86 = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 1
model name\t: AMD EPYC 7763

processor\t: 1
model name\t: another
"""
ARM = """processor\t: 0
CPU implementer\t: 0x41
CPU part\t: 0xd0c
"""


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (X86, "AMD EPYC 7763, family 25, model 1"),
        (ARM, "aarch64, implementer 0x41, part 0xd0c"),
        ("", "aarch64"),
        (None, "aarch64"),
    ],
    ids=["x86", "arm", "empty file", "no file"],
)
def test_a_processor_is_named_so_that_others_that_may_round_differently_have_other_names(
    monkeypatch, tmp_path, text, name
):
    monkeypatch.setattr(devices, "_PROCESSOR", tmp_path / "cpuinfo")
    monkeypatch.setattr(devices.platform, "machine", lambda: "aarch64")
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    assert processor() == name
