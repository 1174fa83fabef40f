"""What the README shows of configs and of Python works as it stands there."""

import re
import tomllib
from pathlib import Path

import pytest
import torch

from mpifl.runner import build, schema

TEXT = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("text", blocks("toml"), ids=["whole", "holdout"])
def test_a_config_of_the_readme_can_be_run(text):
    config = schema.resolve(tomllib.loads(text))
    dataset = build.load_data(config.data, config.seed)
    experiment = build.experiment(config, dataset, torch.device("cpu"))
    assert len(experiment.clients) == config.clients


def test_the_python_of_the_readme_runs_from_top_to_bottom(elsewhere):
    (elsewhere / "configs").symlink_to(Path(__file__).parents[1] / "configs")
    known: dict = {}
    for block in blocks("python"):
        exec(block, known)
    assert (elsewhere / "runs" / "mine" / "results.h5").is_file()
