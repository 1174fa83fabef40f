"""Is a config still the experiment whose published numbers it quotes?"""

from pathlib import Path

import pytest

from mpifl.runner import published, schema

FEDAVG = published.CONFIGS / "man/cifar100-dir0.3/fedavg.toml"

OWN = """
rounds = 7
data.path = "data/mine.h5"
model.name = "cnn"
published = { paper = "Mine", top1_acc = 50.5 }
"""


def text(*overrides: str, config: Path = FEDAVG) -> str:
    """The text that a run of `config` stores."""
    return schema.text(schema.resolve(schema.raw(str(config), overrides)))


def options(*overrides: str, source: str = "") -> list[str]:
    """The options by which a run of FEDAVG departs from it."""
    return [change.option for change in published.changes(text(*overrides), source)]


def test_each_paper_has_configs_that_are_themselves():
    for paper in ("man", "fedalign"):
        [config, *_] = sorted((published.CONFIGS / paper).rglob("fedavg.toml"))
        assert published.changes(text(config=config)) == []


@pytest.mark.parametrize(
    "override",
    [
        "seed=7",
        "name=mine",
        "results.weights_every=1",
        "evaluation.every=5",
        "runtime.threads=2",
        "data.path=/scratch/cifar100.h5",
    ],
)
def test_an_option_that_does_not_change_what_is_trained_is_no_change(override):
    assert options(override) == []


@pytest.mark.parametrize(
    "override",
    ["rounds=3", "clients=50", "data.train_limit=100", "local.lr=0.2", "partition.alpha=0.6"],
)
def test_an_option_that_changes_what_is_trained_is_a_change(override):
    assert options(override) == [override.partition("=")[0]]


def test_a_change_says_ours_and_the_published():
    [change] = published.changes(text("rounds=3"))
    assert str(change) == "rounds = 3 (published: 500)"


def test_of_another_part_only_the_name_is_told():
    assert options("algorithm=feddyn", "algorithm.alpha=0.3") == ["algorithm"]


def test_the_data_are_told_apart_by_what_they_are():
    assert options("data.path=/scratch/c.h5", source="torchvision.datasets.CIFAR100") == []
    limited = "torchvision.datasets.CIFAR100; limited to 9"
    assert options("data.path=/scratch/c.h5", source=limited) == []
    assert options(source="torchvision.datasets.CIFAR10") == ["data"]
    assert options("data.path=data/cifar10.h5") == ["data"]


@pytest.fixture
def own(tmp_path) -> Path:
    """A config with published numbers that no shipped config has."""
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    return path


def test_a_users_own_published_experiment_is_itself(own):
    assert published.changes(text(config=own)) == []
    assert published.changes(text("seed=3", "results.weights_every=1", config=own)) == []


def test_what_is_overridden_of_a_users_own_experiment_is_a_change(own):
    found = published.changes(text("rounds=3", "model=mlp", config=own))
    assert [str(change) for change in found] == [
        "model = mlp (published: cnn)",
        "rounds = 3 (published: 7)",
    ]


def test_a_config_that_extends_an_experiment_is_another(own, tmp_path):
    above = tmp_path / "above.toml"
    above.write_text('extends = "own.toml"\nlocal.lr = 0.5\n')
    [change] = published.changes(text(config=above))
    assert str(change) == "local.lr = 0.5 (published: the default)"


def test_a_config_with_numbers_of_its_own_is_an_experiment_of_its_own(own, tmp_path):
    above = tmp_path / "above.toml"
    above.write_text('extends = "own.toml"\nrounds = 3\npublished.top1_acc = 40.0\n')
    assert published.changes(text(config=above)) == []


def test_an_experiment_that_was_overridden_and_set_back_is_itself(own, tmp_path):
    changed = tmp_path / "changed.toml"
    changed.write_text(text("rounds=3", config=own))
    assert [change.option for change in published.changes(text(config=changed))] == ["rounds"]
    assert published.changes(text("rounds=7", config=changed)) == []
    both = published.changes(text("clients=3", config=changed))
    assert [change.option for change in both] == ["clients", "rounds"]


def test_own_data_that_have_moved_are_no_change(own):
    moved = published.changes(text("data.path=/elsewhere/mine.h5", config=own))
    assert moved == []


def test_a_config_without_published_numbers_has_no_changes():
    demo = published.CONFIGS / "demo.toml"
    assert published.changes(text("rounds=3", config=demo)) == []
    assert "overridden" not in text("rounds=3", config=demo)


def test_a_stored_config_that_is_refused_today_is_compared_as_it_stands():
    old = text().replace("bernoulli", "lottery")
    changed = published.changes(old)
    assert [change.option for change in changed] == ["participation.kind"]
