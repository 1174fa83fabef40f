"""Is a config still the experiment whose published numbers it quotes?"""

from pathlib import Path

import pytest

from mpifl.runner import published, schema

FEDAVG = published.CONFIGS / "man/cifar100-dir0.3/fedavg.toml"

OWN = '[published]\npaper = "Mine"\ntop1_acc = 50.5\n'


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


def test_numbers_that_no_shipped_config_has_are_compared_with_none(tmp_path):
    own = tmp_path / "own.toml"
    own.write_text(OWN)
    assert published.changes(text("rounds=3", config=own)) == []


def test_a_stored_config_that_is_refused_today_is_compared_as_it_stands():
    old = text().replace("bernoulli", "lottery")
    changed = published.changes(old)
    assert [change.option for change in changed] == ["participation.kind"]
