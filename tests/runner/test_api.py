"""`mpifl.run` and `mpifl.open`: the Python interface, alone and on all ranks of a script."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor

import pytest
import tomli_w
from tiny import RUN, digests

import mpifl
from mpifl.algorithms.feddyn import FedDyn
from mpifl.training import flops
from mpifl.training.local import Local

CONFIG = {**RUN, "rounds": 2}


def sha256(run: mpifl.Run) -> list[str]:
    return run.rounds["sha256"].tolist()


def expected() -> list[str]:
    return [digest for digest, _ in digests(CONFIG)]


@pytest.mark.slow
def test_a_dict_a_file_a_finished_run_and_a_config_give_the_same_run(elsewhere):
    (elsewhere / "config.toml").write_text(tomli_w.dumps(CONFIG))
    from_dict = mpifl.run(CONFIG, out="a", quiet=True)
    assert sha256(from_dict) == expected()
    assert sha256(mpifl.run("config.toml", out="b", quiet=True)) == expected()
    assert sha256(mpifl.run("a", out=elsewhere / "c", quiet=True)) == expected()
    config = mpifl.Config(**{**vars(mpifl.Config()), "seed": 9, "rounds": 1})
    assert mpifl.run(config, out="d", quiet=True).seed == 9
    assert from_dict.status == "complete" and sha256(mpifl.open("a")) == expected()


def test_overrides_are_those_of_the_command_line_and_out_is_runs_name(elsewhere, capsys):
    run = mpifl.run(CONFIG, overrides=["rounds=1", "name=other"])
    assert run.path == mpifl.open("runs/other").path and len(run.rounds["round"]) == 1
    assert "round 1/1" in capsys.readouterr().out


def test_quiet_prints_nothing(elsewhere, capsys):
    mpifl.run(CONFIG, out="a", quiet=True)
    assert capsys.readouterr() == ("", "")


class Rounds(mpifl.Callback):
    def __init__(self) -> None:
        self.told: list[tuple[int, bool]] = []

    def round_finished(self, progress: mpifl.Progress, last: bool) -> None:
        self.told.append((progress.round, last))


def test_an_interrupt_while_a_steps_operations_are_counted_ends_the_run_as_failed(
    elsewhere, monkeypatch
):
    def interrupted(clients):
        raise KeyboardInterrupt

    monkeypatch.setattr(flops, "count", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mpifl.run(CONFIG, out="a", quiet=True)
    assert mpifl.open("a").status == "failed"


def test_callbacks_are_told_of_each_round(elsewhere):
    rounds = Rounds()
    mpifl.run(CONFIG, out="a", callbacks=[rounds], quiet=True)
    assert rounds.told == [(1, False), (2, True)]


@pytest.mark.slow
def test_a_stopped_run_is_resumed_to_the_same_bits(elsewhere):
    class Stop(mpifl.Callback):
        def round_finished(self, progress, last) -> None:
            os.kill(os.getpid(), 10)  # SIGUSR1

    config = {**CONFIG, "rounds": 4, "results": {"checkpoint_rounds": 1}}
    stopped = mpifl.run(config, out="a", callbacks=[Stop()], quiet=True)
    assert stopped.status == "stopped" and len(stopped.rounds["round"]) < 4
    whole = mpifl.run(config, out="a", resume=True, quiet=True)
    assert whole.status == "complete"
    assert sha256(whole) == [digest for digest, _ in digests({**CONFIG, "rounds": 4})]


def test_a_run_in_another_thread_than_the_main_one_is_the_same(elsewhere):
    with ThreadPoolExecutor(1) as threads:
        run = threads.submit(mpifl.run, CONFIG, out="a", quiet=True).result()
    assert sha256(run) == expected()


def test_a_second_run_while_one_trains_is_refused_and_one_after_it_is_the_same(elsewhere):
    class RunAnother(mpifl.Callback):
        def round_finished(self, progress, last) -> None:
            with ThreadPoolExecutor(1) as threads:
                second = threads.submit(mpifl.run, {**CONFIG, "seed": 9}, out="b", quiet=True)
                with pytest.raises(mpifl.BadInput, match="expected one run at a time"):
                    second.result()

    first = mpifl.run(CONFIG, out="a", callbacks=[RunAnother()], quiet=True)
    assert sha256(first) == expected() and not (elsewhere / "b").exists()
    assert sha256(mpifl.run(CONFIG, out="b", quiet=True)) == expected()


def test_overrides_keep_the_other_options_of_objects_in_a_dict(elsewhere):
    config = {**CONFIG, "local": Local(epochs=3, lr=0.7), "algorithm": FedDyn(alpha=0.3)}
    run = mpifl.run(
        config, overrides=["local.batch=16", "algorithm.alpha=0.5"], out="a", quiet=True
    )
    stored = tomllib.loads(run.config)
    assert (stored["local"]["epochs"], stored["local"]["lr"]) == (3, 0.7)
    assert (stored["local"]["batch"], stored["algorithm"]["alpha"]) == (16, 0.5)


def test_signal_handlers_are_restored_also_after_a_stopped_run(elsewhere):
    def own(*_):
        return None

    class Stop(mpifl.Callback):
        def round_finished(self, progress, last) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, own)
    try:
        longer = {**CONFIG, "rounds": 4}
        assert mpifl.run(longer, out="a", callbacks=[Stop()], quiet=True).status == "stopped"
        mpifl.run(CONFIG, out="b", quiet=True)
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"config": 3}, "config: expected a dict, a path or a Config; got 3"),
        ({"config": "c.toml\0"}, r"config: expected a path; got 'c.toml.x00'"),
        ({"config": ""}, "config: expected a path; got ''"),
        ({"callbacks": [print]}, "callbacks: expected objects of mpifl.Callback"),
        ({"callbacks": 3}, "callbacks: expected a list of mpifl.Callback objects; got 3"),
        ({"callbacks": mpifl.Callback()}, "callbacks: expected a list of mpifl.Callback objects"),
        ({"out": 7}, "out: expected a path; got 7"),
        ({"out": ""}, "out: expected a path; got ''"),
        ({"out": "a\0b"}, r"out: expected a path; got 'a.x00b'"),
        ({"out": "x" * 300}, "x: expected a path; got File name too long"),
        ({"overrides": 3}, "overrides: expected a list of texts such as .rounds=3.; got 3"),
        ({"overrides": "rounds=1"}, "overrides: expected a list of texts such as .rounds=3."),
        ({"overrides": [("rounds", 1)]}, "overrides: expected texts such as .rounds=3.; got .'ro"),
        ({"resume": "no"}, "resume: expected True or False; got 'no'"),
        ({"quiet": 1}, "quiet: expected True or False; got 1"),
    ],
)
def test_what_is_not_what_run_expects_is_refused_in_one_line(elsewhere, given, line):
    with pytest.raises(mpifl.BadInput, match=line):
        mpifl.run(**{"config": CONFIG, "out": "a", **given})
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("path", ["", "a\0", 7, None, b"x", [], "x" * 300])
def test_open_refuses_what_is_no_path_in_one_line(path):
    with pytest.raises(mpifl.BadInput, match="expected a"):
        mpifl.open(path)


def test_callbacks_that_come_from_a_generator_are_told_of_each_round(elsewhere):
    callback = mpifl.Callback()
    told = []
    callback.round_finished = lambda progress, last: told.append(progress.round)
    mpifl.run(CONFIG, out="a", callbacks=(each for each in [callback]), quiet=True)
    assert told == [1, 2]


def test_bad_input_is_raised_and_nothing_is_written(elsewhere):
    with pytest.raises(mpifl.BadInput, match="local.lr: expected .*; got -1"):
        mpifl.run({**CONFIG, "local": {"lr": -1.0}}, out="a")
    with pytest.raises(mpifl.BadInput):
        mpifl.open("a")
    assert list(elsewhere.iterdir()) == []


def test_importing_mpifl_imports_neither_torch_nor_mpi():
    code = "import sys, mpifl; sys.exit(bool({'torch', 'mpi4py', 'h5py'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_there_and_documented():
    for name in mpifl.__all__:
        assert name == "__version__" or getattr(mpifl, name).__doc__
    assert set(mpifl.__all__) <= set(dir(mpifl))
