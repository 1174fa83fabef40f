"""A GPU that is out of memory ends all ranks with one line: where, how much, what to lower."""

import re

import click
import pytest
import tiny
import torch
from click.testing import CliRunner

from mpifl.commands.process import one_line_errors
from mpifl.losses.cross_entropy import CrossEntropy
from mpifl.options import options
from mpifl.runner import exit_codes
from mpifl.runner.out_of_memory import line
from mpifl.training import evaluate
from mpifl.training.rounds import run

TORCHS = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.15 GiB of "
    "which 1.25 GiB is free. Including non-PyTorch memory, this process has 77.89 GiB memory in "
    "use. Of the allocated memory 70.00 GiB is allocated by PyTorch"
)
AMOUNTS = "2.00 GiB were asked for, 1.25 GiB of 79.15 GiB are free; lower "


@options
class TooLarge(CrossEntropy):
    """A loss that finds no memory."""

    def __call__(self, step):
        raise torch.OutOfMemoryError(TORCHS)


@pytest.fixture
def stopped(monkeypatch) -> list[int]:
    """The codes with which all ranks would have been ended."""
    codes: list[int] = []
    monkeypatch.setattr(exit_codes, "stop_all", codes.append)
    monkeypatch.setattr(exit_codes, "raise_on_interrupt", lambda: None)
    monkeypatch.setattr(exit_codes, "Communicator", tiny.alone)
    return codes


def said(action, capsys) -> str:
    """What a command on ranks says of `action`, in one line."""
    assert exit_codes.on_all_ranks(action) == exit_codes.BROKEN
    [text] = capsys.readouterr().err.splitlines()
    return text


def test_in_training_it_names_round_client_and_what_to_lower(stopped, capsys):
    experiment = tiny.experiment({})
    experiment.clients.loss = TooLarge()
    text = said(lambda communicator: run(experiment, communicator), capsys)
    assert stopped == [exit_codes.BROKEN]
    assert text.startswith("mpifl: rank 0: GPU 0 of ")
    assert "in training (rank 0, round 1, client " in text
    assert AMOUNTS + "local.batch, runtime.lanes, RANKS_PER_GPU" in text
    assert 'precision = "bf16", runtime.graphs = "no"' in text


def test_in_a_test_it_names_the_batch_of_the_test(stopped, capsys, monkeypatch):
    def full(logits, y):
        raise torch.OutOfMemoryError(TORCHS)

    monkeypatch.setattr(evaluate, "_cross_entropy", full)
    text = said(lambda communicator: run(tiny.experiment({}), communicator), capsys)
    assert "is out of memory in testing: " in text
    assert AMOUNTS + "evaluation.batch" in text


def test_a_command_without_ranks_ends_with_one_line_and_1():
    @click.command()
    def command():
        with one_line_errors():
            raise torch.cuda.OutOfMemoryError(TORCHS)

    ended = CliRunner().invoke(command)
    assert ended.exit_code == 1
    assert ended.output.startswith("mpifl: GPU 0 of ")
    assert AMOUNTS + "local.batch, evaluation.batch" in " ".join(ended.output.split())


class OutOfMemoryError(RuntimeError):
    """That of another version of torch, and its subclasses."""


class OfADevice(OutOfMemoryError):
    """One of these."""


@pytest.mark.parametrize(
    ("error", "amounts"),
    [
        (OfADevice("no memory\nmore"), "a GPU of .*: no memory; lower"),
        (RuntimeError("CUDA error: out of memory\nmore"), "of .*: CUDA error: out of memory; "),
    ],
)
def test_other_exceptions_for_the_same_reason_are_known(error, amounts):
    text = line(error)
    assert re.search(amounts, text)
    assert "\n" not in text


def test_other_errors_are_not_taken_for_it():
    assert line(RuntimeError("sizes differ")) is None
    assert line(MemoryError()) is None
