"""What a config may say, and how a raw one becomes a checked one.

The sections are options of the parts that they configure, and those of `sections.py`. What does not
go together is in `combinations.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from annotated_types import Ge, Le

from mpifl import config as configs
from mpifl.algorithms import ALGORITHMS
from mpifl.algorithms.fedavg import FedAvg
from mpifl.data.holdout import HoldOut
from mpifl.data.partition import PARTITIONS, Partition
from mpifl.data.partition.dirichlet import Dirichlet
from mpifl.data.sources import SOURCES
from mpifl.losses import LOSSES
from mpifl.losses.expression import parse as parse_loss
from mpifl.losses.expression import render
from mpifl.models import MODELS, Architecture
from mpifl.models.cnn import Cnn
from mpifl.models.module import allow
from mpifl.options import (
    BadInput,
    Count,
    Free,
    Named,
    NonNegativeInt,
    adapter,
    options,
    tables,
    validated,
)
from mpifl.options import json_schema as options_schema
from mpifl.runner import combinations, plugins
from mpifl.runner.factories import allow_remembered
from mpifl.runner.sections import GENERATED, Data, Results, Runtime
from mpifl.runner.trackers import TRACKERS, Tracker
from mpifl.store import Run
from mpifl.training.algorithm import Algorithm
from mpifl.training.evaluate import Evaluation
from mpifl.training.heterogeneity import Heterogeneity
from mpifl.training.local import Local
from mpifl.training.sampling import Participation


@options
class Config:
    """The config of one run."""

    name: str = "run"
    """name of the run, and of its folder unless --out is given"""
    seed: NonNegativeInt = 0
    """all random numbers of the run follow from it"""
    plugins: tuple[str, ...] = ()
    """code of your own: Python files (relative to the config) and modules that register losses,
    algorithms, models ...; a run stores their texts
    """
    callbacks: tuple[Annotated[Tracker, Named(TRACKERS, "tensorboard")], ...] = ()
    """who is told of each round beside results.h5: trackers by name, such as ["tensorboard"] or
    [{ name = "wandb", project = "mine" }], and those of plugins
    """
    rounds: Count = 10
    """number of rounds"""
    clients: Annotated[int, Ge(1), Le(10**7)] = 10
    """number of clients that the training samples are divided among"""
    objective: Literal["samples", "uniform"] = "samples"
    """weights of clients in means: by their number of samples, or equal"""
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    """of forward and backward passes, in training and tests; tf32: products of float32 numbers with
    10 bits, on a GPU; bf16: torch's autocast to bfloat16. Weights, messages and sums are float32
    """
    buffers: Literal["average", "pooled", "local"] = "average"
    """BatchNorm's running statistics: the clients' weighted mean; those of the pooled samples; or
    each client keeps its own
    """
    divergence: Literal["stop", "skip", "continue"] = "stop"
    """if a client's loss is not finite: stop the run, leave the client out, or go on with it"""
    participation: Participation = Participation()
    heterogeneity: Heterogeneity = Heterogeneity()
    data: Data = Data(name="digits")
    partition: Annotated[Partition, Named(PARTITIONS, "dirichlet")] = Dirichlet()
    """how the training samples are divided among the clients"""
    holdout: HoldOut = HoldOut()
    model: Annotated[Architecture, Named(MODELS, "cnn")] = Cnn()
    """the network"""
    init: str = ""
    """weights to start from: a run, RUN@ROUND, a file (.safetensors, .pt), or those of torchvision,
    "torchvision:IMAGENET1K_V1"; empty: drawn from the seed. May contain ~ and $VARIABLES
    """
    init_head: Literal["keep", "fresh"] = "keep"
    """keep: the classifier of `init`, which must fit the classes; fresh: drawn from the seed"""
    algorithm: Annotated[Algorithm, Named(ALGORITHMS, "fedavg")] = FedAvg()
    """the federated algorithm"""
    local: Local = Local()
    evaluation: Evaluation = Evaluation()
    results: Results = Results()
    runtime: Runtime = Runtime()
    published: Free = field(default_factory=dict)
    """numbers that a paper gives for this run, to compare results with; the run ignores them"""


TABLES = tables(Config)
"""the classes that a name may choose, for every section with a name, by its dotted path"""


def raw(path: str, assignments: Sequence[str]) -> dict:
    """The raw config of a TOML file, or of a run, with overrides applied, and its plugins loaded.

    Raises BadInput. The plugins of a run are loaded as `plugins.load_stored` says.
    """
    if not Path(path).is_dir() and not path.endswith(".h5"):
        written = configs.read(Path(path))
        if "base" in written:
            raise BadInput(
                f"{path}: expected a config; got a sweep, for it has `base`: "
                f"`mpifl sweep {path}` lists its runs"
            )
        named = configs.override(written, assignments)
        allow(named)
        return plugins.load_named(named)
    run = Run.open(path)
    changed = configs.override(configs.of_run(run.config, path), assignments)
    own = configs.override({}, assignments)  # the user's own words
    allow(own)
    if "plugins" in own:
        return plugins.load_named(changed)
    allow_remembered(changed)
    return plugins.load_stored(run, changed, how=plugins.IN_CONFIG)


def resolve(raw: dict[str, Any] | Config) -> Config:
    """The checked config of a raw one, whose sections may be tables or instances.

    A Config is checked too, for what does not go together. Raises BadInput at the first mistake
    that can be seen without the data.
    """
    if isinstance(raw, dict):
        raw = configs.renamed(raw)
        plugins.use(raw.get("plugins", ()))
    else:
        plugins.use(raw.plugins)
    config = validated(Config, raw)
    _check_name(config)
    _check_named(config)
    _check_callbacks(config)
    combinations.check(config)
    _check_data(config)
    return config


def text(config: Config) -> str:
    """The config as TOML text in which every option stands, the loss's too."""
    plugins.use(config.plugins)
    table = adapter(Config).dump_python(config)
    table["local"]["loss"] = render(parse_loss(config.local.loss, LOSSES), LOSSES)
    return tomli_w.dumps(table)


def json_schema() -> dict[str, Any]:
    """What a config may say, as a JSON Schema; an editor can check and complete a config by it."""
    return options_schema(Config)


# --- what one option may not say -----------------------------------------------------------------


def _check_name(config: Config) -> None:
    if config.name in ("", ".", "..") or not {"/", "\0"}.isdisjoint(config.name):
        raise BadInput(
            f"name: expected a name that a folder can have, without /; got {config.name!r}"
        )


def _check_named(config: Config) -> None:
    """Refuse an instance of a class that has no name, which could not be written."""
    for path, table in TABLES.items():
        value: Any = config
        for name in path.split("."):
            value = getattr(value, name, None)
        if value is not None and type(value) not in table.values():
            raise BadInput(
                f"{path}: expected an instance of a class with a name; got {value!r}; "
                f"allowed: {', '.join(table)}"
            )


def _check_callbacks(config: Config) -> None:
    """Refuse a class without a name, and the same tracker twice: both would write one place."""
    kinds = [type(tracker) for tracker in config.callbacks]
    for tracker, kind in zip(config.callbacks, kinds, strict=True):
        if kind not in TRACKERS.values():
            raise BadInput(
                f"callbacks: expected instances of classes with a name; got {tracker!r}; "
                f"allowed: {', '.join(TRACKERS)}"
            )
        if kinds.count(kind) > 1:
            raise BadInput(f"callbacks: expected each tracker once; got {kind.__name__} twice")


def _check_data(config: Config) -> None:
    need_no_file = (*GENERATED, *plugins.names_in(SOURCES))
    if not config.data.path and config.data.name not in need_no_file:
        raise BadInput(
            "data.path: expected a file packed by `mpifl data NAME --out FILE`, or data.name one "
            f"of {', '.join(need_no_file)}; got no path and the name {config.data.name!r}"
        )
