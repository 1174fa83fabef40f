"""Landscapes: right where the loss is known, in the right directions, and refusing what a run has
not.
"""

import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from analysis.small import make
from quadratics import Point

from mpifl.analysis.landscape import compute
from mpifl.analysis.landscape.compute import compute_landscape, coordinates_along
from mpifl.analysis.landscape.directions import (
    Direction,
    client_plane,
    direction_to,
    eigen_directions,
    normalised,
)
from mpifl.analysis.landscape.matplotlib_figures import figure
from mpifl.analysis.landscape.plan import LandscapeOptions, LandscapePlan
from mpifl.analysis.landscape.plotly_figures import page
from mpifl.analysis.landscape.values import Landscape
from mpifl.analysis.models.on_ranks import RunOnRanks
from mpifl.analysis.models.stored import StoredModel
from mpifl.curvature import Fixed, Objective
from mpifl.net import Net
from mpifl.options import BadInput
from mpifl.parallel.communicator import Communicator
from mpifl.store import Run

COMMUNICATOR = Communicator()


@pytest.fixture(scope="module")
def run(once, tmp_path_factory) -> Run:
    """A copy of the tiny run."""
    folder = tmp_path_factory.mktemp("landscape") / "run"
    shutil.copytree(once("tiny-run", make), folder)
    return Run.open(folder)


@pytest.fixture(scope="module")
def on_ranks(run) -> RunOnRanks:
    return RunOnRanks(run, COMMUNICATOR, precision="float64")


def explored(on_ranks: RunOnRanks, **wanted):
    plan = LandscapePlan(on_ranks, LandscapeOptions(samples=0, points=5, side=3, **wanted))
    return plan, plan.compute()


def test_in_the_middle_is_the_model_itself(on_ranks):
    plan, panels = explored(on_ranks, along=("random", "eigen"))
    objective = on_ranks.objective(plan.model, Fixed(on_ranks.samples("train"), np.arange(90), 100))
    loss, accuracy = objective.score(on_ranks.vector(plan.model.weights))
    landscapes = [landscape for panel in panels for landscape in panel]
    assert [len(landscape.axes) for landscape in landscapes] == [1, 1, 2, 1, 1, 2]
    for landscape in landscapes:
        middle = tuple(at.tolist().index(0.0) for at in landscape.coordinates)
        assert (landscape.loss[middle], landscape.accuracy[middle]) == pytest.approx(
            (loss, accuracy)
        )


def test_the_plane_agrees_with_its_lines(on_ranks):
    _, [lines, [plane]] = explored(on_ranks, along=("random",))
    assert plane.loss[:, 1] == pytest.approx(lines[0].loss[::2])
    assert plane.loss[1] == pytest.approx(lines[1].loss[::2])


def test_along_an_eigenvector_the_quadratic_rises_by_one_at_one(on_ranks):
    _, [lines] = explored(on_ranks, along=("eigen",), dims=(1,), span=1e-4)
    for line in lines:
        below, _, here, _, above = line.loss
        assert (above + below - 2 * here) / 1e-8 == pytest.approx(2.0, rel=0.01)


class Valley(Objective):
    """x'Ax / 2 with A = diag(1, 4, 0.5), and no accuracy."""

    def loss(self, x, y):
        return (torch.tensor([1, 4, 0.5]) * self.net.module.w**2).sum() / 2

    def score(self, w):
        with self.at(w):
            return self.loss(None, None).item(), 0.0


def test_along_unit_eigenvectors_a_quadratic_rises_by_half_its_eigenvalues(monkeypatch):
    """As FedAlign's code draws them: 41 x 41 points of [-1, 1]^2."""
    monkeypatch.setattr(compute, "Objective", Valley)
    net = Net(Point(torch.zeros(3, dtype=torch.float64)))
    data = [(torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64))]
    on_ranks = SimpleNamespace(
        net=net,
        communicator=COMMUNICATOR,
        vector=torch.from_numpy,
        objective=lambda model, data: Valley(net, data),
        reloaded=SimpleNamespace(forward={}),
    )
    model = StoredModel(1, None, np.zeros(3), np.zeros(0))
    directions = eigen_directions(on_ranks, model, 2, data, "unit")
    side = LandscapeOptions(along=["eigen"], scale="unit").points_of_side
    plane = compute_landscape(on_ranks, model, directions, data, side)
    rise = plane.loss - plane.loss[20, 20]
    assert rise.shape == (41, 41)
    assert [rise[40, 20], rise[20, 40], rise[40, 40]] == pytest.approx([2, 0.5, 2.5])
    assert plane.axes[0] == "eigenvector 1 (λ = 4), length 1"


def tensor_of(vector, entry):
    return vector[entry.offset : entry.offset + entry.size].view(entry.shape)


def test_random_directions_have_the_filters_norms(on_ranks):
    w = on_ranks.vector(on_ranks.reloaded.weights(2)[0])
    made = normalised(torch.ones_like(w), w, on_ranks.net.layout)
    for entry in on_ranks.net.layout:
        if entry.kind != "parameter":
            continue
        direction = tensor_of(made, entry)
        if len(entry.shape) == 1:
            assert not direction.any(), "biases and scales stay where they are"
        else:
            norms = tensor_of(w, entry).flatten(1).norm(dim=1)
            assert torch.allclose(direction.flatten(1).norm(dim=1), norms)


def test_the_way_to_a_client_ends_at_its_model_with_its_statistics(on_ranks):
    plan, [lines, _] = explored(on_ranks, along=("clients",))
    for client, line in zip(on_ranks.models([2], clients=True)[1:], lines, strict=True):
        objective = on_ranks.objective(client, Fixed(on_ranks.samples("train"), np.arange(90), 100))
        loss, _ = objective.score(on_ranks.vector(client.weights))
        assert line.loss[line.coordinates[0] == 1] == pytest.approx(loss)


def test_clients_lie_where_they_are_projected(on_ranks):
    model, *clients = on_ranks.models([2], clients=True)
    directions, marks = client_plane(on_ranks, model, clients)
    basis = torch.stack([direction.weights for direction in directions])
    assert torch.allclose(basis @ basis.T, torch.eye(2).double(), atol=1e-9)
    for client in clients:
        step = on_ranks.vector(client.weights) - on_ranks.vector(model.weights)
        assert marks[client.label] == pytest.approx((basis @ step).tolist())


def test_a_barrier_is_the_rise_above_the_straight_line():
    def line(loss):
        return Landscape(
            "", ("",), (np.linspace(-0.5, 1, 7),), np.array(loss, float), np.zeros(7), {}
        )

    assert line([9, 9, 1, 2, 3, 2.5, 3]).barrier == pytest.approx(1.0)
    assert line([0, 0, 1, 1, 1, 1, 1]).barrier == 0


@pytest.mark.parametrize(("low", "high", "points"), [(-1, 1, 5), (-0.25, 1.25, 10), (-1, 1, 4)])
def test_the_models_are_on_the_grid(low, high, points):
    at = coordinates_along(Direction("", torch.zeros(1), torch.zeros(0), low, high), points)
    assert {0.0, 1.0} <= set(at.tolist())
    assert len(set(at.tolist())) == points


def test_the_picture_and_the_page_show_every_panel(on_ranks):
    _, panels = explored(on_ranks, along=("random", "clients"))
    titles = [axes.get_title() for axes in figure(panels).axes if axes.get_title()]
    assert titles == ["round 2 global"] * 4
    titled = figure(panels, title="run: round 2")
    assert titled.get_suptitle() == "run: round 2"
    assert not any(axes.get_title() for axes in titled.axes)
    assert "coordinate: 1 = the client's model" in [axes.get_xlabel() for axes in titled.axes]
    text = page(panels, "a <title>")
    assert "a &lt;title&gt;" in text
    assert len(re.findall(r'class="plotly-graph-div"', text)) == 4
    assert not re.search(r"<script[^>]+src=", text)


@pytest.mark.slow
def test_the_command_writes_a_picture_a_page_and_the_numbers(run, command, tmp_path):
    few = ("--points", "5", "--side", "3", "--samples", "30", "-o", "deep/land")
    code, said, _ = command(
        "landscape", str(run.path), "--along", "eigen", "--to", str(run.path), *few
    )
    assert code == 0
    assert "round 2 global, 4 landscapes of 24 points, about" in said
    assert "barrier to run (round 2): none" in said
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {
        "land.png",
        "land.html",
        "land.npz",
    }
    with np.load(tmp_path / "deep/land.npz") as numbers:
        assert numbers["2_loss"].shape == (3, 3)


@pytest.mark.slow
def test_the_command_draws_several_runs_at_one_scale(run, command, tmp_path):
    shutil.copytree(run.path, tmp_path / "other")
    few = ("--dims", "2", "--side", "3", "--samples", "30", "-o", "land.png")
    which = ("--along", "eigen", "--scale", "unit")
    code, _, heard = command("landscape", str(run.path), "other", *which, *few)
    assert (code, heard) == (0, "")
    assert {path.name for path in tmp_path.glob("land*")} == {"land.png", "land.html", "land.npz"}
    with np.load(tmp_path / "land.npz") as numbers:
        titles = [str(numbers[f"{number}_title"]) for number in range(2)]
        scales = [str(numbers[f"{number}_scale"]) for number in range(2)]
        assert numbers["0_loss"].tolist() == numbers["1_loss"].tolist()
    assert titles == ["run", "other"]
    assert scales == ["unit", "unit"]
    assert '"text":"other"' in (tmp_path / "land.html").read_text()


MISTAKES = {
    "no clients": (
        ["--round", "1", "--along", "clients"],
        "clients' models; got round 1 without; allowed: rounds 2",
    ),
    "no such client": (
        ["--client", "9"],
        "expected one of those stored at round 2: 0, 1, 2; got 9",
    ),
    "no such direction": (["--along", "up"], "expected some of random, eigen, clients; got up"),
    "nothing": (["--along", ""], "expected something to look along"),
    "a plane of one way": (
        ["--along", "", "--to", "nowhere", "--dims", "2"],
        "--dims: expected 1, or a second --to for a plane",
    ),
    "all rounds": (["--round", "all"], "--round: expected one round; got 2"),
    "few points": (["--points", "2"], "--points: expected at least 3; got 2"),
    "scale of nothing": (
        ["--along", "random", "--scale", "unit"],
        "--scale unit: expected --along",
    ),
    "other runs of several": (["nowhere", "--to", "nowhere"], "--to: expected with one RUN; got 2"),
    "no place": (
        ["--dims", "1", "--points", "3", "-o", "/proc/none/land"],
        "/proc/none.*: expected a place to write",
    ),
    "no run": (["--to", "nowhere"], "nowhere: expected a run's folder"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_in_one_line_and_exit_code_2(run, command, mistake):
    arguments, line = MISTAKES[mistake]
    code, _, heard = command("landscape", str(run.path), *arguments)
    assert (code, heard.count("\n")) == (2, 1)
    assert re.search(line, heard)


def test_ways_lead_to_runs_on_the_same_data_with_stored_weights_alone(folder, command):
    code, _, heard = command("landscape", "bare", "--to", "other-data", "--along", "")
    assert (code, heard.count("\n")) == (2, 1)
    assert "--to: expected a run on the data of" in heard


def test_two_runs_of_one_name_are_two_ways(run, on_ranks, tmp_path):
    shutil.copytree(run.path, tmp_path / "deep" / "run")
    plan = LandscapePlan(
        on_ranks,
        LandscapeOptions(
            along=[], to=[str(run.path), str(tmp_path / "deep" / "run")], side=3, points=3
        ),
    )
    assert len(plan.panels[1][0].marks) == 3


def test_a_model_of_other_tensors_is_no_end_of_a_way(on_ranks):
    model = on_ranks.models([2])[0]
    other = model._replace(weights=np.zeros(3, "f4"))
    with pytest.raises(BadInput, match="expected a model with the same tensors"):
        direction_to(on_ranks, model, other, "other")
