"""What a config may say: every option with its default, every name, and what does not go together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le

from mpifl import config as configs
from mpifl.algorithms import ALGORITHMS, SERVER_STEPS
from mpifl.algorithms.fedavg import FedAvg
from mpifl.data.batches import Augmentation
from mpifl.data.partition import PARTITIONS
from mpifl.data.partition.dirichlet import Dirichlet
from mpifl.losses import LOSSES
from mpifl.losses.expression import parse as parse_loss
from mpifl.losses.expression import render
from mpifl.models import MODELS, Model
from mpifl.models.cnn import Cnn
from mpifl.options import BadInput, Count, NonNegative, NonNegativeInt, options
from mpifl.schedules import SCHEDULES
from mpifl.store import Run
from mpifl.training.evaluate import Evaluation
from mpifl.training.gradients import GRADIENTS, Plain
from mpifl.training.local import Local
from mpifl.training.sampling import Participation

GENERATED = ("digits", "synthetic")
"""data sets that need no packed file"""

TABLES: configs.Tables = {
    "partition": PARTITIONS,
    "model": MODELS,
    "algorithm": ALGORITHMS,
    "algorithm.server_step": SERVER_STEPS,
    "local.gradient": GRADIENTS,
    "local.schedule": SCHEDULES,
}


@options
class Data:
    """Which images, and what is done to them."""

    name: str = ""
    """digits or synthetic, made on the spot; for a packed file, a name to show"""
    path: str = ""
    """a file packed by `mpifl data`"""
    options: dict[str, Any] = field(default_factory=dict)
    """options of digits and synthetic"""
    train_limit: NonNegativeInt = 0
    """use this many training samples, a class-stratified choice; 0: all"""
    test_limit: NonNegativeInt = 0
    normalise: bool = True
    """whether images have the channels' mean 0 and deviation 1; else they are in 0 to 1"""
    augment: Augmentation = Augmentation()


@options
class Results:
    """What a run keeps on disk."""

    weights_every: NonNegativeInt = 10
    """rounds between stored global weights; 0: only the last, which is always stored"""
    clients_every: NonNegativeInt = 0
    """rounds between stored weights of the round's clients, with those that they were sent; 0:
    never
    """
    commit_seconds: NonNegative = 10.0
    """least time between two commits of results.h5"""
    checkpoint_rounds: NonNegativeInt = 0
    """rounds between checkpoints, from which --resume goes on; 0: by minutes only, and at the end
    """
    checkpoint_minutes: NonNegative = 10.0
    """minutes between checkpoints; 0: by rounds only, and at the end"""

    def clients_rounds(self, rounds: int) -> frozenset[int]:
        """The rounds, of `rounds`, whose clients' weights are kept."""
        every = self.clients_every
        return frozenset({rounds, *range(every, rounds + 1, every)}) if every else frozenset()

    def weights_rounds(self, rounds: int) -> frozenset[int]:
        """The rounds whose global weights are kept: those that clients' weights began from too."""
        clients, every = self.clients_rounds(rounds), self.weights_every
        regular = range(every, rounds + 1, every) if every else ()
        return frozenset(
            {rounds, *regular, *clients, *(round - 1 for round in clients if round > 1)}
        )


@options
class Runtime:
    """Where it computes."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: NonNegativeInt = 0
    """per rank; 0: what Slurm grants a task, else 1"""
    channels_last: Literal["auto", "yes", "no"] = "auto"
    """memory format of images; auto: what was measured faster for the model"""
    grace_seconds: NonNegative = 20.0
    """after a signal: how long the round under way may still take, before it is left"""
    patience_minutes: NonNegative = 10.0
    """how long a rank may be silent before all ranks end, six times that around the rounds; 0: for
    ever
    """
    states_folder: str = ""
    """where each rank keeps what its clients remember, in a file; $VARIABLES are the rank's; empty:
    in memory
    """


@options
class Config:
    """One run."""

    name: str = "run"
    seed: NonNegativeInt = 0
    rounds: Count = 10
    clients: Annotated[int, Ge(1), Le(10**7)] = 10
    objective: Literal["samples", "uniform"] = "samples"
    """how clients weigh: by their samples, or all alike"""
    buffers: Literal["average", "pooled", "local"] = "average"
    """what becomes of BatchNorm's running statistics"""
    divergence: Literal["stop", "skip", "continue"] = "stop"
    """what a client whose loss is not finite does to the run"""
    participation: Participation = Participation()
    data: Data = Data(name="digits")
    partition: Any = Dirichlet()
    model: Any = Cnn()
    algorithm: Any = FedAvg()
    local: Local = Local()
    evaluation: Evaluation = Evaluation()
    results: Results = Results()
    runtime: Runtime = Runtime()
    published: dict[str, Any] = field(default_factory=dict)
    """numbers that a paper gives for this run, to compare with; nothing is made of them"""


def raw(path: str, assignments: Sequence[str]) -> dict:
    """The raw config of a TOML file, or of a finished run, with overrides applied."""
    if Path(path).is_dir() or path.endswith(".h5"):
        stored = configs.parse(Run.open(path).config, path)
    else:
        stored = configs.read(Path(path))
    return configs.override(stored, assignments)


def resolve(raw: dict) -> Config:
    """The checked config of `raw`; raises BadInput at the first mistake that can be seen without
    the data.
    """
    config = configs.build(Config, raw, TABLES)
    if config.name in ("", ".", "..") or not {"/", "\0"}.isdisjoint(config.name):
        raise BadInput(
            f"name: expected a name that a folder can have, without /; got {config.name!r}"
        )
    config.participation.cohort(config.seed, 1, config.clients)
    _refuse_misfit(config.local.loss, config.model)
    if config.evaluation.models and config.evaluation.where == "shared":
        raise BadInput(
            "evaluation.where: expected server, where evaluation.models are tested; got shared"
        )
    _refuse_other_steps(config.algorithm, config.local)
    if config.local.nesterov and not config.local.momentum:
        raise BadInput("local.nesterov: expected a local.momentum above 0 with it; got 0.0")
    if not config.data.path and config.data.name not in GENERATED:
        raise BadInput(
            f"data.path: expected a file packed by `mpifl data NAME --out FILE`, or data.name one of "
            f"{', '.join(GENERATED)}; got no path and the name {config.data.name!r}"
        )
    return config


def _refuse_other_steps(rule: Any, local: Local) -> None:
    """BadInput where local steps are none that the rule can have."""
    name = type(rule).__name__
    if rule.gradient is not None and not isinstance(local.gradient, Plain):
        got = type(local.gradient).__name__.lower()
        raise BadInput(
            f"local.gradient: expected plain, since {name} brings its own gradient; got {got}"
        )
    if rule.fresh_momentum and local.momentum and local.momentum_state == "persist":
        raise BadInput(
            f"local.momentum_state: expected reset, since {name} weighs the gradients of one round only; got persist"
        )


def _refuse_misfit(text: str, model: Model) -> None:
    """BadInput where the loss asks for what the model lacks, or has not switched on."""
    missing = parse_loss(text, LOSSES).needs - model.capabilities - {"previous"}
    if not missing:
        return
    options = {name: {option.name for option in fields(kind)} for name, kind in MODELS.items()}
    if missing <= options[model.name]:
        [name] = missing
        raise BadInput(
            f"model.{name}: expected more than 0, such as 256, for {text!r} needs a {name} head; got 0"
        )
    able = [name for name, kind in MODELS.items() if missing <= kind().capabilities | options[name]]
    raise BadInput(
        f"local.loss: {text!r} needs a model with {', '.join(sorted(missing))}; got {model.name}; allowed: "
        f"{', '.join(able) or 'none'}"
    )


def text(config: Config) -> str:
    """The config as TOML in which every option stands, the loss's too."""
    loss = render(parse_loss(config.local.loss, LOSSES), LOSSES)
    return configs.text(replace(config, local=replace(config.local, loss=loss)), TABLES)
