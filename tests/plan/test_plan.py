"""plan: what it foretells is what a run then counts, and foretelling leaves no trace."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch
from click.testing import CliRunner

from mpifl.cli import main
from mpifl.data import packed
from mpifl.data.batches import sequence
from mpifl.parallel.communicator import Communicator
from mpifl.plan import cost, memory, report
from mpifl.plan.dry_run import dry_run
from mpifl.plan.profile import Profile, Resident, SavedForBackward, measure
from mpifl.runner import build, schema
from mpifl.seeds import generator
from mpifl.terminal import size
from mpifl.training import flops, rounds
from mpifl.training.callback import Callback
from mpifl.training.client_rows import COLUMNS

SMALL = {
    "seed": 3,
    "rounds": 5,
    "clients": 6,
    "participation": {"fraction": 0.5},
    "data": {
        "name": "synthetic",
        "options": {"shape": [3, 8, 8], "train": 180, "test": 40, "classes": 4},
    },
    "partition": {"name": "dirichlet", "alpha": 0.5, "minimum": 5},
    "model": {"name": "mlp", "hidden": [16]},
    "local": {"batch": 16, "lr": 0.01},
}
CASES = {
    "fedavg": ["evaluation.every=2"],
    "scaffold, persistent momentum": [
        "algorithm=scaffold",
        "local.momentum=0.9",
        'local.momentum_state="persist"',
    ],
    "pooled buffers": [
        "model=resnet56",
        "model.norm=batch",
        "buffers=pooled",
        "data.options.train=60",
        "rounds=2",
    ],
}
MEASURED = Profile(batch=16, step=0.01, client=0.001, evaluation=0.1, activations=1000)


def config_of(*assignments: str) -> schema.Config:
    return schema.resolve(schema.configs.override(SMALL, assignments))


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(tomli_w.dumps(SMALL))
    return path


def invoke(*arguments: str | Path):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


class Figures(Callback):
    def __init__(self) -> None:
        self.rounds, self.steps = [], []

    def round_finished(self, progress, last):
        self.rounds.append(progress.figures)
        self.steps.append(
            dict(
                zip(progress.cohort.tolist(), progress.rows[:, COLUMNS.index("steps")], strict=True)
            )
        )


@pytest.mark.parametrize("case", CASES)
def test_bytes_steps_and_states_are_those_of_the_run(case):
    config = config_of(*CASES[case])
    planned, figures = dry_run(config), Figures()
    x = build.experiment(config, build.load_data(config.data, config.seed), torch.device("cpu"))
    rounds.run(x, Communicator(), [figures])
    traffic = cost.traffic(planned, 3)
    assert {(r["bytes_down"], r["bytes_up"]) for r in figures.rounds} == {
        (3 * traffic.down, 3 * traffic.up)
    }
    steps = planned.clients.steps(np.arange(6))
    assert all(
        steps[client] == taken for played in figures.steps for client, taken in played.items()
    )
    assert list(planned.state.flat()) == list(x.clients.initial_state(x.clients.net.weights).flat())


@pytest.mark.parametrize("size", [1, 15, 16, 17, 48])
@pytest.mark.parametrize("how", [{"epochs": 3}, {"epochs": 2, "drop_last": True}, {"steps": 7}])
def test_steps_are_as_many_as_the_batches_that_are_dealt(size, how):
    clients = dry_run(
        config_of(*(f"local.{key}={str(value).lower()}" for key, value in how.items()))
    ).clients
    clients.sizes = np.array([size])
    local = clients.local
    _, lengths = sequence(
        np.arange(size), 16, local.epochs, local.steps or None, local.drop_last, generator(0, "x")
    )
    assert clients.steps(np.array([0])).tolist() == [len(lengths)]


@pytest.mark.parametrize("limits", [[], ["data.train_limit=90", "data.test_limit=21"]])
def test_a_packed_file_is_planned_from_its_labels_as_it_would_be_run(tmp_path, limits):
    packed.write(build.load_data(config_of().data, 0), tmp_path / "data.h5")
    config = config_of(f"data.path={tmp_path}/data.h5", "evaluation.batch=10", *limits)
    planned = dry_run(config)
    dataset = build.load_data(config.data, config.seed)
    run = build.experiment(config, dataset, torch.device("cpu")).clients
    assert [part.tolist() for part in planned.clients.parts] == [
        part.tolist() for part in run.parts
    ]
    assert planned.clients.counts().tolist() == run.counts().tolist()
    assert (planned.data.test, len(planned.trial.test)) == (len(dataset.test), 10)
    assert planned.data.bytes == sum(
        s.images.nbytes + s.labels.nbytes for s in (dataset.train, dataset.test)
    )


def test_saved_weights_and_flops_are_as_many_as_a_run_stores(elsewhere, path):
    planned = dry_run(config_of("results.weights_every=2", "results.clients_every=4"))
    invoke("run", path, "results.weights_every=2", "results.clients_every=4", "--out", "run")
    from mpifl.store import Run

    run = Run.open(elsewhere / "run")
    counted = flops.count(planned.trial.clients)
    assert cost.operations(planned, counted) == pytest.approx(run.rounds["flops"].mean())
    assert run.attrs["flops_sample"] == counted.sample > 2 * run.attrs["flops_forward"]
    kept, written = cost.stored(planned)
    # 3 and 4 are what the clients of 4 and 5 were sent
    assert run.saved_rounds == [2, 3, 4, 5] and kept == 4
    # rounds 4 and 5 keep 3 clients each
    assert written == planned.clients.net.weights.nbytes * (kept + 2 * 3)


@pytest.mark.parametrize(
    ("ranks", "where", "seconds"),
    [
        # 20 steps of 3 clients, then a test; alone all add up
        (1, "server", 5 * (0.003 + 0.2) + 5 * 0.1),
        # the server tests while the longest worker takes 12 steps of 2 clients
        (3, "server", 5 * 0.122 + 0.1),
        (3, "all", 5 * 0.122 + 5 * 0.1 / 3),
        (3, "auto", 5 * 0.122 + 0.1 / 3),
    ],
)
def test_seconds_add_up_to_the_longest_worker_and_the_test(ranks, where, seconds):
    planned = dry_run(config_of(f"evaluation.where={where}"))
    load = cost.Load(ranks, 3, 20, *((20, 3) if ranks == 1 else (12, 2)))
    one, whole = cost.seconds(planned, MEASURED, load)
    assert whole == pytest.approx(seconds)
    assert one == pytest.approx(seconds / 5)


def test_a_slow_test_on_the_server_is_seen():
    planned = dry_run(config_of("evaluation.where=server"))
    slow = MEASURED._replace(evaluation=0.3)
    assert cost.server_is_last(planned, slow, cost.Load(3, 3, 20, 12, 2))
    assert not cost.server_is_last(planned, MEASURED, cost.Load(3, 3, 20, 12, 2))
    dealt = dry_run(config_of())
    load = cost.Load(3, 3, 20, 12, 2)
    assert not cost.server_is_last(dealt, slow, load)
    of_server = cost.tested(planned, slow, load)
    of_all = cost.tested(dealt, slow, load)
    training = 3 * 0.001 + 20 * 0.01
    assert of_server.seconds == of_server.alone == of_all.alone == pytest.approx(0.3)
    assert of_server.server_waits == pytest.approx(0)
    assert of_server.workers_wait == pytest.approx(0.3 - training / 2)
    assert of_all.seconds == pytest.approx((training + 0.3) / 3)
    assert [of_all.server_waits, of_all.workers_wait] == pytest.approx([0, 0])
    assert of_all.part == pytest.approx(0.3 / (0.3 + training))


def test_more_ranks_shorten_the_longest_worker_down_to_the_longest_client():
    planned = dry_run(config_of("participation.fraction=1.0"))
    steps = planned.clients.steps(np.arange(6))
    alone, two, three, all_apart = cost.loads(planned, [1, 2, 3, 7])
    assert (alone.longest, two.longest, all_apart.longest) == (
        steps.sum(),
        steps.sum(),
        steps.max(),
    )
    assert steps.sum() / 2 <= three.longest < steps.sum()
    assert (alone.clients, all_apart.clients) == (6, 1)


def test_what_is_kept_for_the_backward_pass_is_counted_once_and_by_graph():
    w = torch.ones(4, 4, requires_grad=True)
    saved = SavedForBackward(w)
    with saved:
        for rows in (8, 16, 8):
            x = torch.ones(rows, 4)
            (x @ w).exp().square().sum().backward()
    # x, and exp's result, which two operations keep; w is left out
    assert saved.peak == 4 * 4 * (16 + 16)


def test_the_profile_plays_real_batches():
    measured = measure(dry_run(config_of()))
    assert measured.batch == 16
    assert min(measured.step, measured.evaluation) > 0 <= measured.client
    assert measured.activations > 16 * 16 * 4  # at least the hidden layer


@pytest.mark.parametrize("flags", [[], ["--config"]])
def test_the_config_that_is_printed_is_that_of_the_run(path, elsewhere, flags):
    result = invoke("plan", path, "rounds=7", "local.gradient=sam", "--no-timing", *flags)
    assert result.exit_code == 0
    printed = result.stdout.split("\npartition: ")[0]
    config = config_of("rounds=7", "local.gradient=sam")
    assert schema.text(schema.resolve(tomllib.loads(printed))) == schema.text(config)


def test_what_differs_from_the_defaults_is_printed_and_the_rest_on_request(path, elsewhere):
    assignments = ("rounds=7", "local.lr=0.5", "local.gradient=sam", "model.norm=group")
    short = invoke("plan", path, *assignments, "--no-timing").stdout.split("\npartition: ")[0]
    whole = invoke("plan", path, *assignments, "--no-timing", "--config").stdout
    for line in ("rounds = 7", "lr = 0.5", 'norm = "group"'):
        assert f"{line}\n" in short
        assert f"{line}  # default: " in whole
    assert 'name = "sam"  # default: "plain"\n' in whole
    assert "momentum" not in short
    assert "momentum = 0.0\n" in whole


def test_what_clients_remember_counts_as_memory_unless_it_is_kept_on_disk(
    path, elsewhere, monkeypatch
):
    # the memory of this process, which is large after other tests, would hide the difference
    monkeypatch.setattr(report, "resident", Resident)
    remembering = ("algorithm=scaffold", "model.hidden=[2000]")
    in_memory, on_disk = (
        invoke(
            "plan",
            path,
            *remembering,
            f"runtime.states_folder={folder}",
            "--no-timing",
            "--ranks",
            "2",
        ).stdout
        for folder in ("", "scratch")
    )
    planned = memory.remembered(dry_run(config_of(*remembering)), 3)
    assert planned == 9 * cost.size_of(dry_run(config_of(*remembering)).state.flat())
    lines = [
        next(line for line in text.splitlines() if "clients remember" in line)
        for text in (in_memory, on_disk)
    ]
    assert all(line.rstrip().endswith(size(planned)) for line in lines)
    assert "on disk, in scratch" in lines[1]
    nodes = [
        next(line for line in text.splitlines() if "a node of 2" in line)
        for text in (in_memory, on_disk)
    ]
    assert nodes[0] != nodes[1]


def test_each_lane_has_a_net_a_step_and_a_client_and_tests_have_the_ranks_net():
    persisting = ("local.momentum=0.9", 'local.momentum_state="persist"')

    planned = dry_run(config_of(*persisting))

    def parts(lanes: int) -> dict[str, int]:
        rows = memory.memory(planned, MEASURED, 1, lanes)
        return {name.partition(",")[0]: count for name, count in rows}

    one, three = parts(1), parts(3)
    times = {name: three[name] / one[name] for name in one}
    of_a_lane = {"a client's reply", "its momentum", "state of the client at work"}
    of_a_lane.add("activations of a step of 16 (measured)")
    assert times == {name: 3 if name in of_a_lane else 1 for name in one} | {"weights": 4}
    of_each = sum(one[name] for name in of_a_lane) + one["weights"]
    assert memory.memory_of_a_lane(planned, MEASURED) == of_each


@pytest.mark.parametrize("lanes", ["1", "3", '"auto"'])
def test_the_memory_is_that_of_all_lanes_or_of_one_and_of_each_more_that_auto_may_choose(
    path, elsewhere, lanes
):
    is_auto = lanes == '"auto"'
    shown = invoke("plan", path, f"runtime.lanes={lanes}", "--no-timing", "--ranks", "2").stdout
    assert ("weights, gradient, buffers, 4 times" in shown) == (lanes == "3")
    assert ("each lane, where runtime.lanes = auto chooses several" in shown) == is_auto
    assert ("a node of 2 ranks, of one lane each" in shown) == is_auto


@pytest.mark.parametrize(
    ("clients", "rows"), [(40, ["0", "39"]), (41, ["least", "median", "most"])]
)
def test_few_clients_have_a_row_each_and_many_have_quantiles(path, elsewhere, clients, rows):
    result = invoke("plan", path, f"clients={clients}", "partition=iid", "--no-timing")
    table = result.stdout.split("partition: ")[1].split("messages")[0].splitlines()
    firsts = [line.split()[0] for line in table if line.strip()]
    assert set(rows) <= set(firsts)
    assert ("0" in firsts) == (clients == 40)


def test_a_plan_fits_its_width_and_has_no_escape_codes(path, elsewhere):
    lines = invoke("plan", path, "--ranks", "5").stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert not any("\x1b" in line for line in lines)


@pytest.mark.parametrize(
    "mistake",
    [
        "clints=3",
        "local.lr=-1",
        "model.classes=7",
        "clients=1000",
        "partition.minimum=100",
        "data.test_limit=1000",
        "participation.fraction=0.01",
    ],
)
def test_a_mistake_gives_the_line_that_a_run_gives(path, elsewhere, mistake):
    planned, run = invoke("plan", path, mistake), invoke("run", path, mistake)
    assert planned.exit_code == run.exit_code == 2
    assert planned.stderr == run.stderr
    assert planned.stderr.startswith("mpifl: ")
    assert planned.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_plan_needs_no_mpi_library_and_writes_nothing(path, elsewhere):
    before = sorted(elsewhere.rglob("*"))
    command = [sys.executable, "-m", "mpifl", "plan", path, "--no-timing"]
    result = subprocess.run(
        command, env=os.environ | {"MPI4PY_LIBMPI": "/nowhere"}, capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert sorted(elsewhere.rglob("*")) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_run_for_gpus_is_planned_where_there_are_none(path, elsewhere):
    result = invoke("plan", path, "runtime.device=cuda")
    assert result.exit_code == 0
    assert "here is no GPU" in result.stdout


@pytest.mark.parametrize(("passes", "work"), [(0, "for as many steps"), (2, "for 2 passes")])
def test_of_fedrep_it_says_which_steps_are_not_counted(passes, work, tmp_path, capsys):
    path = tmp_path / "fedrep.toml"
    path.write_text(tomli_w.dumps(SMALL))
    algorithm = f"algorithm={{ name = 'fedrep', head_epochs = {passes} }}"
    report.plan(str(path), [algorithm], timing=False)
    said = " ".join(capsys.readouterr().out.split())
    assert f"before the body, {work} (algorithm.head_epochs = {passes})" in said
