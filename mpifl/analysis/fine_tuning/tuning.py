"""Fine-tune a stored global model on each client's samples, and count what that is worth.

Every client begins at the same stored weights, with momentum zero, and takes a number of epochs on
its own training samples (FedAvg + FT). Before and after, its model is tested on the client's own
test set and on the whole test set. Shuffles and augmentation have the streams of a seed of their
own. Clients that never trained in the run are fine-tuned too, on the same share of their samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
from torch import Tensor

from mpifl import seeds
from mpifl.analysis.models.on_ranks import RunOnRanks
from mpifl.config import override
from mpifl.data.holdout import Held, HoldOut, hold_out
from mpifl.data.partition import Parts
from mpifl.losses import LOSSES
from mpifl.losses.expression import parse as parse_loss
from mpifl.options import BadInput, Count, NonNegative, adapter, options, validated
from mpifl.schedules import Constant
from mpifl.store import Run
from mpifl.store.measurements import Finding
from mpifl.training.algorithm import Algorithm, ServerRound, Train
from mpifl.training.batchnorm import BufferPolicy
from mpifl.training.client import Task, play
from mpifl.training.client_rows import Column
from mpifl.training.clients import Clients
from mpifl.training.evaluate import Tester
from mpifl.training.generalisation import recalls, skewed_accuracy
from mpifl.training.local import Local
from mpifl.training.messages import Model, Sent, Vectors
from mpifl.training.tallies import EvaluationSet, Tally, evaluation_set, from_flat

Part = Literal["all", "head"]


@options
class Settings:
    """How a model is fine-tuned."""

    epochs: Count = 5
    """passes over a client's training samples"""
    lr: NonNegative = 0.0
    """learning rate; 0: that of the round whose model it is"""
    part: Part = "all"
    """which weights move: all, or those of the layer that makes the logits (head)"""
    changes: tuple[str, ...] = ()
    """other options of [local] than the run's, such as loss=ce"""


class FineTuning(Algorithm):
    """One client's training of a part of the weights; nothing is sent back."""

    def __init__(self, moving: Tensor | None) -> None:
        """`moving` (bool [d]) says which coordinates move; None: all."""
        self._moving = moving

    def client(self, sent: Vectors, own: Vectors, train: Train) -> tuple[Vectors, Vectors]:
        return {"w": train(sent["w"], moving=self._moving).y}, own

    def server(
        self, w: Tensor, server: Vectors, mean: Vectors, of: ServerRound
    ) -> tuple[Tensor, Vectors]:
        return mean["w"], server


class FineTuner:
    """Fine-tunes the global model that a run stored after `round`; every rank has one.

    Raises BadInput for a run without a model that clients share.
    """

    def __init__(self, on_ranks: RunOnRanks, round: int, settings: Settings) -> None:
        config = on_ranks.reloaded.config
        run = on_ranks.run
        if config.algorithm.personal:
            raise BadInput(
                f"{run.path}: expected a run whose clients share a model; got one in which each "
                "has its own"
            )
        self.settings = settings
        self.held = _divided(run, config.holdout)
        self.local = _local(config.local, settings, config.local.schedule(round, config.rounds))
        self._on_ranks = on_ranks
        self._dataset = on_ranks.reloaded.dataset
        weights, buffers = on_ranks.reloaded.weights(round)
        self.start = Model(on_ranks.vector(weights), on_ranks.vector(buffers))
        self._clients = self._make_clients()
        self._tester = Tester(
            on_ranks.net,
            on_ranks.samples("test"),
            config.evaluation.batch,
            self._clients.loss,
            lambda: None,
        )
        classes = self._clients.classes
        self._test = evaluation_set("test", self._tester.samples, classes)
        own = self.held.own
        owners = np.repeat(np.arange(len(own)), own.sizes)
        self._own = evaluation_set(
            "own", self._clients.samples, classes, own.indices, owners, len(own)
        )

    @property
    def skipped(self) -> np.ndarray:
        """int64: clients that are not fine-tuned.

        They have no training sample, or a single one, of which BatchNorm can make no statistics.
        """
        least = 2 if len(self.start.buffers) else 1
        return np.flatnonzero(self.held.training.sizes < least)

    def tune(self, advance: Callable[[int], None] = lambda clients: None) -> Finding:
        """Fine-tune all clients, shared out over the ranks; the same on every rank.

        Arrays by client, NaN where there is nothing: `steps`; how many of its `own_samples` are
        right, `own_before` and `own_after`; how many of the `test_samples`, `test_after` (and
        `test_before`, one number); the test accuracy with its own classes, `skewed_before` and
        `skewed_after`. `trains` is 1 for clients that trained in the run. `advance` is told of each
        client. Raises BadInput on all ranks where a client's weights do not stay finite.
        """
        communicator = self._on_ranks.communicator
        clients = len(self.held.training)
        names = (
            "steps",
            "own_before",
            "own_after",
            "test_after",
            "skewed_before",
            "skewed_after",
            "diverged",
        )
        found = {name: np.zeros(clients) for name in names}
        before = self._counts(self.start, self._test)
        chosen = np.setdiff1d(np.arange(clients), self.skipped)
        for client in chosen[communicator.rank :: communicator.size].tolist():
            for name, value in self._tune_one(client, before).items():
                found[name][client] = value
            advance(1)
        found = {name: communicator.everywhere(values) for name, values in found.items()}
        _refuse_divergence(np.flatnonzero(found.pop("diverged")))
        left_out = self.skipped
        for name, values in found.items():
            if name != "steps":
                values[left_out] = np.nan
        return Finding(
            {
                "trains": self._on_ranks.run.trains.astype("i8"),
                "own_samples": self.held.own.sizes,
                "test_before": np.array(before.right),
                "test_samples": np.array(len(self._test)),
                **found,
            }
        )

    def _tune_one(self, client: int, before: Tally) -> dict[str, float]:
        sent = Sent({"w": self.start.weights}, self.start.buffers)
        own = self._own.of_client(client)
        found = {"own_before": self._right(self.start, own)}
        state = self._clients.initial_state(self.start.weights)
        played = play(self._clients, Task(client, 1, sent, state))
        model = Model(played.model.weights.clone(), played.model.buffers.clone())
        after = self._counts(model, self._test)
        found["steps"] = played.row[Column.STEPS]
        found["diverged"] = float(not model.weights.isfinite().all())
        found["own_after"] = self._right(model, own)
        found["test_after"] = float(after.right)
        found["skewed_before"] = self._as_seen_by(client, before)
        found["skewed_after"] = self._as_seen_by(client, after)
        return found

    def _as_seen_by(self, client: int, test: Tally) -> float:
        """The test accuracy with the classes as frequent as among the client's samples."""
        labels = self._dataset.train.labels[self.held.training[client]]
        counts = np.bincount(labels, minlength=self._clients.classes)
        recall = recalls(test.right_by_class, self._test.samples_by_class)
        return float(skewed_accuracy(recall, counts[None]).accuracy[0])

    def _right(self, model: Model, of: EvaluationSet) -> float:
        return float(self._counts(model, of).right) if len(of) else float("nan")

    def _counts(self, model: Model, of: EvaluationSet) -> Tally:
        self._tester.net.load(*model)
        return from_flat(self._tester.loaded_counts(of), 0, of.classes)

    def _make_clients(self) -> Clients:
        on_ranks = self._on_ranks
        config = on_ranks.reloaded.config
        moving = on_ranks.net.coordinates.classifier if self.settings.part == "head" else None
        return Clients(
            net=on_ranks.net,
            samples=on_ranks.samples("train"),
            parts=self.held.training,
            labels=self._dataset.train.labels,
            classes=len(self._dataset.classes),
            algorithm=FineTuning(moving),
            local=self.local,
            loss=parse_loss(self.local.loss, LOSSES),
            augmentation=config.data.augment,
            buffers=BufferPolicy("average", on_ranks.net.layout),
            seed=seeds.integer(config.seed, "fine-tune"),
            rounds=1,
        )


def _local(of_run: Local, settings: Settings, factor: float) -> Local:
    """The run's local training, for one round of fine-tuning. Raises BadInput."""
    once = replace(
        of_run,
        epochs=settings.epochs,
        steps=0,
        lr=settings.lr or of_run.lr * factor,
        schedule=Constant(),
        momentum_state="reset",
    )
    return validated(Local, override(adapter(Local).dump_python(once), settings.changes), "local")


def _refuse_divergence(clients: np.ndarray) -> None:
    if len(clients):
        raise BadInput(
            f"finetune: expected weights that stay finite; got others for {len(clients)} clients "
            f"(client {clients[0]} first); try a smaller --lr"
        )


def _divided(run: Run, holdout: HoldOut) -> Held:
    """Every client's training samples and own test set, those of unseen clients divided too.

    Unseen clients of which the run has not stored all samples have none to train on.
    """
    is_whole = holdout.unseen == "all" or run.trains.all()
    if run.holdout and holdout.ratio and is_whole:
        everybody = HoldOut(ratio=holdout.ratio)
        return hold_out(everybody, Parts(*run.whole_partition()), run.seed)
    own = Parts(np.zeros(0, np.int64), np.zeros(len(run.offsets), np.int64))
    if run.holdout:
        own = Parts(run.holdout["indices"], run.holdout["offsets"])
    return Held(Parts(run.indices, run.offsets), own, np.flatnonzero(run.trains))
