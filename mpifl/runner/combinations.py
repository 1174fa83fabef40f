"""Options that do not go together: each pair is refused in one line, before anything is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mpifl.algorithms import ALGORITHMS
from mpifl.losses import LOSSES
from mpifl.losses.expression import parse as parse_loss
from mpifl.models import ADAPTED, MODELS
from mpifl.options import BadInput, option_names
from mpifl.training.algorithm import Algorithm
from mpifl.training.averages import NoAverage
from mpifl.training.gradients import Plain
from mpifl.training.optimizers import AdamW

if TYPE_CHECKING:
    from mpifl.runner.schema import Config


def check(config: Config) -> None:
    """Raise BadInput for the first combination of options that cannot be."""
    for of_one_kind in _CHECKS:
        of_one_kind(config)


def _check_participation(config: Config) -> None:
    participants = config.holdout.participants(config.clients, config.seed)
    config.participation.cohort(config.seed, 1, len(participants))


def _check_crops(config: Config) -> None:
    augment = config.data.augment
    if augment.area < 1 and augment.crop:
        raise BadInput(
            "data.augment.crop: expected 0 with data.augment.area, whose crops are of images "
            f"without padding; got {augment.crop}"
        )


def _check_heterogeneity(config: Config) -> None:
    local = config.local
    config.heterogeneity.check(config.clients, local.epochs, local.steps)


def _check_loss(config: Config) -> None:
    """Refuse a loss that needs what the model lacks, or has not switched on."""
    loss = config.local.loss
    model = config.model
    needs = parse_loss(loss, LOSSES).needs
    of_algorithm = {name for name in needs if name.startswith("sent.")}
    missing = needs - of_algorithm - model.capabilities - {"previous"}
    if not missing:
        return
    if missing <= set(option_names(type(model))):
        [name] = missing
        raise BadInput(
            f"model.{name}: expected more than 0, such as 256, for {loss!r} needs a {name} head; "
            "got 0"
        )
    able = []
    for name, kind in MODELS.items():
        if name not in ADAPTED and missing <= kind().capabilities.union(option_names(kind)):
            able.append(name)
    raise BadInput(
        f"local.loss: {loss!r} needs a model with {', '.join(sorted(missing))}; "
        f"got {model.name}; allowed: {', '.join(able) or 'none'}"
    )


def _check_what_is_sent(config: Config) -> None:
    """Refuse a loss that reads a vector that the algorithm does not send."""
    algorithm = config.algorithm
    needs = parse_loss(config.local.loss, LOSSES).needs
    sent = _sent_by(algorithm)
    for need in sorted(needs):
        if need.startswith("sent.") and need not in sent:
            able = [name for name, kind in ALGORITHMS.items() if need in _sent_by(kind())]
            raise BadInput(
                f"local.loss: {config.local.loss!r} expected an algorithm that sends "
                f"{need.removeprefix('sent.')}; got {type(algorithm).__name__}; "
                f"allowed: {', '.join(able) or 'none'}"
            )


def _sent_by(algorithm: Algorithm) -> set[str]:
    """The vectors that it sends, as losses name them."""
    w = torch.zeros(1)
    return {f"sent.{name}" for name in algorithm.send(w, algorithm.init_server(w))}


def _check_evaluation(config: Config) -> None:
    evaluation = config.evaluation
    if evaluation.models and not config.algorithm.communicates:
        raise BadInput(
            f"evaluation.models: expected none, since {type(config.algorithm).__name__} sends no "
            f"model to clients; got {list(evaluation.models)}"
        )
    _check_average(config)
    if evaluation.train_every % evaluation.every:
        raise BadInput(
            "evaluation.train_every: expected a multiple of evaluation.every = "
            f"{evaluation.every}; got {evaluation.train_every}"
        )
    if evaluation.train_samples and not evaluation.train_every:
        raise BadInput(
            "evaluation.train_samples: expected evaluation.train_every above 0 with it; got 0"
        )


def _check_average(config: Config) -> None:
    """Refuse a test of a second model that the server lacks, or a second model without its test."""
    evaluation = config.evaluation
    has_average = not isinstance(evaluation.average, NoAverage)
    name = type(config.algorithm).__name__
    if has_average and config.algorithm.has_average:
        raise BadInput(
            f"evaluation.average: expected none, since {name} has a second model of its own; got "
            f"{type(evaluation.average).__name__.lower()}"
        )
    if has_average and "average" not in evaluation.models:
        raise BadInput(
            'evaluation.average: expected evaluation.models = ["average"] with it; got '
            f"{list(evaluation.models)}"
        )
    if "average" in evaluation.models and not (has_average or config.algorithm.has_average):
        able = [name for name, kind in ALGORITHMS.items() if kind.has_average]
        raise BadInput(
            "evaluation.models: expected for average a server with a second model; got "
            f"{name}; allowed: evaluation.average = ema or swa, or algorithm = {' or '.join(able)}"
        )


def _check_gradient(config: Config) -> None:
    """Refuse a gradient beside an algorithm's own."""
    if config.algorithm.gradient is not None and not isinstance(config.local.gradient, Plain):
        name = type(config.algorithm).__name__
        got = type(config.local.gradient).__name__.lower()
        raise BadInput(
            f"local.gradient: expected plain, since {name} brings its own gradient; got {got}"
        )


def _check_momentum(config: Config) -> None:
    """Refuse momentum that the algorithm cannot have, and Nesterov's without any."""
    local = config.local
    has_memory = local.momentum or isinstance(local.optimizer, AdamW)
    persists = has_memory and local.momentum_state == "persist"
    if config.algorithm.fresh_momentum and persists:
        name = type(config.algorithm).__name__
        raise BadInput(
            f"local.momentum_state: expected reset, since momentum of {name} must begin at zero in "
            "each round; got persist"
        )
    if isinstance(local.optimizer, AdamW):
        _check_adamw(config)
    if local.nesterov and not local.momentum:
        raise BadInput("local.nesterov: expected a local.momentum above 0 with it; got 0.0")


def _check_pool(config: Config) -> None:
    """Refuse what asks for clients' models, where one client trains on the samples of all."""
    if config.algorithm.pool is None:
        return
    for option, value in (
        ("evaluation.clients", config.evaluation.clients),
        ("results.clients_every", config.results.clients_every),
    ):
        if value:
            raise BadInput(
                f'{option}: expected none with algorithm.name = "central", where clients have no '
                f"models of their own; got {str(value).lower()}"
            )


def _check_own_parts(config: Config) -> None:
    """Refuse clients and domains that never train, which have no part of their own to be tested."""
    holdout = config.holdout
    algorithm = config.algorithm
    if not algorithm.personal or not algorithm.treats_apart:
        return
    for name, value in (("clients", holdout.clients), ("domains", holdout.domains)):
        if value:
            shown = list(value) if isinstance(value, tuple) else value
            raise BadInput(
                f"holdout.{name}: expected none with {type(algorithm).__name__}, which has "
                f"no {algorithm.treats_apart} for what never trains; got {shown}"
            )


def _check_adamw(config: Config) -> None:
    """Refuse what holds for steps of SGD only."""
    if config.algorithm.needs_sgd:
        name = type(config.algorithm).__name__
        raise BadInput(
            f"local.optimizer: expected sgd, since {name} takes w - y for a sum of gradients; got "
            "adamw"
        )
    if config.local.momentum:
        raise BadInput(
            "local.momentum: expected 0 with adamw, which has its own (beta1); got "
            f"{config.local.momentum}"
        )


def _check_init(config: Config) -> None:
    if config.init_head == "fresh" and not config.init:
        raise BadInput("init_head: expected init with it, the weights to start from; got none")


_CHECKS = (
    _check_participation,
    _check_crops,
    _check_heterogeneity,
    _check_loss,
    _check_what_is_sent,
    _check_evaluation,
    _check_gradient,
    _check_momentum,
    _check_init,
    _check_pool,
    _check_own_parts,
)
