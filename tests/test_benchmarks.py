"""The benchmarks still fit the package: they run, whatever the times are."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import pytest
from click.testing import CliRunner

from benchmarks import __main__ as command
from benchmarks import bare, gpu, gpu_clients, overhead, pairs, workloads

REPEATED = ("curvature", "memory_format", "methods", "order_free_sum", "products", "resnet")
"""modules that time pairs"""
MINUTES = ("curvature", "plan", "waiting", "evaluation")
"""benchmarks with a size of their own, which are left to a release"""


@pytest.fixture
def once(monkeypatch):
    """Each pair is timed once."""
    plain = pairs.interleave

    def interleave(ours, other, _pairs, **before):
        return plain(ours, other, 1, **before)

    for name in REPEATED:
        module = getattr(__import__(f"benchmarks.{name}"), name)
        if hasattr(module, "interleave"):
            monkeypatch.setattr(module, "interleave", interleave)


def invoke(*words: str) -> str:
    done = CliRunner().invoke(command.main, words)
    assert done.exit_code == 0, done.output
    return done.output


def test_every_benchmark_is_listed():
    listed = [line.split()[0] for line in invoke("--list").splitlines() if line[:1] != " "]
    assert set(listed) >= {*command.BENCHMARKS, "gpu"}


def test_a_round_of_mpifl_does_the_work_of_the_bare_loop():
    found = overhead.compare(workloads.TINY_STEPS, bare.mlp(), 2)
    assert len(found.ours) == len(found.other) == 2


@pytest.mark.slow
def test_the_dry_run_for_a_gpu_measures_each_line_and_is_held_to_no_bar(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "DRY", replace(gpu.DRY, ranks=()))
    lines = invoke("gpu", "--dry-run", "--json", str(tmp_path / "rows.json"))
    [kept] = (tmp_path / "rows.json").read_text().splitlines()
    rows = json.loads(kept)["rows"]
    assert len(rows) == 18
    for row in rows:
        assert row["what"] in lines
        assert row.get("seconds", row.get("value")) > 0
    assert "yes" not in lines
    assert "NO" not in lines


def test_without_a_gpu_its_benchmark_says_what_can_be_done(monkeypatch):
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    done = CliRunner().invoke(command.main, ["gpu"])
    assert done.exit_code == 1
    assert "expected a CUDA GPU; torch sees none; --dry-run" in done.output


def test_a_part_that_fails_leaves_the_lines_of_the_others(monkeypatch, capsys):
    def failing(size):
        raise RuntimeError("as asked for\nmore")

    monkeypatch.setattr(gpu, "FULL", replace(gpu.DRY, ranks=(), lanes=(), rounds=1))
    for part in ("resnet", "methods_of_field"):
        monkeypatch.setattr(gpu, part, failing)
    monkeypatch.setattr(gpu, "small_clients", lambda size: iter([gpu.Line("W1", 0.1, 150, 60)]))
    assert gpu.gpu() == [gpu.Line("W1", 0.1, 150, 60)]
    said = capsys.readouterr().out
    assert "< 60 s: NO" in said
    assert said.count("RuntimeError: as asked for\n") == 2


def test_the_busy_share_counts_time_that_two_kernels_share_once():
    assert gpu_clients.busy_share([(0, 2), (1, 3), (9, 10)]) == 0.4
    assert gpu_clients.busy_share([(0, 9), (1, 2), (9, 10)]) == 1.0
    assert gpu_clients.busy_share([]) == 0.0


@pytest.mark.slow
def test_the_dry_run_for_a_gpu_starts_ranks():
    lines = [line.text() for line in gpu_clients.sharing(gpu.DRY)]
    assert [line[: line.index(":")] for line in lines] == ["W1, graphs, 2 ranks on one GPU"]


def test_ranks_that_fail_are_named_with_their_error(monkeypatch, capsys):
    failed = subprocess.CompletedProcess([], 1, "", "Traceback\nRuntimeError: no\nAbort(1)\n")
    monkeypatch.setattr(gpu_clients.subprocess, "run", lambda *words, **options: failed)
    assert list(gpu_clients.sharing(gpu.DRY)) == []
    assert capsys.readouterr().out == "W1 on 2 ranks failed: RuntimeError: no\n"


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what mpifl is compared with
@pytest.mark.parametrize("name", [n for n in command.BENCHMARKS if n not in MINUTES])
def test_every_benchmark_runs(once, name):
    assert command.BENCHMARKS[name]()
