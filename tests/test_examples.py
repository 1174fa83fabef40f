"""examples/, the plugins that CONTRIBUTING shows (tests/mpi/test_plugins_on_ranks.py: on ranks)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
import torch

from mpifl.runner import plugins
from mpifl.runner.plugins import file_plugin, load_named
from mpifl.training.algorithm import ServerRound

EXAMPLES = Path(__file__).parents[1] / "examples"
FILES = sorted(EXAMPLES.glob("*.py"))


@pytest.fixture(autouse=True)
def _no_plugin_is_left() -> Iterator[None]:
    yield
    plugins.use(())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_example_has_less_than_40_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < 40


def test_there_is_one_of_each_kind():
    kinds = [entry.kind.word for path in FILES for entry in file_plugin(path).entries]
    assert sorted(kinds) == ["algorithm", "loss", "model", "partition"]


def named(example: str, raw: dict) -> dict:
    return load_named({"plugins": [str(EXAMPLES / example)], **raw})


def test_the_loss_trains_and_is_cross_entropy_at_strength_0():
    plain = tiny.digests({})
    neutral, strong = "ce + confidence(beta=0.0)", "ce + confidence(beta=0.2)"
    assert tiny.digests(named("confidence.py", {"local": {"loss": neutral}})) == plain
    assert tiny.digests(named("confidence.py", {"local": {"loss": strong}})) != plain


def test_the_algorithm_goes_its_part_of_the_way_to_the_mean():
    [damped] = file_plugin(EXAMPLES / "damped.py").entries
    w, mean = torch.tensor([1.0, 2.0]), torch.tensor([5.0, 2.0])
    for rate, expected in ((0.25, [2.0, 2.0]), (1.0, [5.0, 2.0])):
        after, _ = damped.value(rate=rate).server(
            w, {}, {"w": mean}, ServerRound(1, 1, 0.1, 0.1, 1, 1.0)
        )
        assert after.tolist() == expected
    assert tiny.digests(named("damped.py", {"algorithm": "damped"})) != tiny.digests({})


def test_the_model_has_activations_and_features_for_every_loss():
    patches = {"model": {"name": "patches", "size": 4, "norm": "layer"}}
    found = tiny.digests(named("patches.py", {**patches, "local": {"loss": "ce + man"}}))
    assert found != tiny.digests(named("patches.py", patches))


@pytest.mark.parametrize(("s", "classes"), [(0.0, 2), (100.0, 4)])
def test_the_partition_gives_clients_the_fewest_classes_at_0_percent(s, classes):
    partition = {"name": "similarity", "s": s}
    clients = tiny.experiment(
        named("similarity.py", {"clients": 2, "partition": partition})
    ).clients
    assert [int((counts > 0).sum()) for counts in clients.counts()] == [classes, classes]
    assert clients.sizes.tolist() == [18, 18]
