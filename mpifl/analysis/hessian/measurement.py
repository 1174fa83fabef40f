"""Measure the curvature of a run's stored models, on one process or on many.

Each finding is written as soon as it is known.

    run = RunOnRanks(Run.open("runs/demo"), Communicator())
    measurement = Measurement(run, Exact(samples=500))
    measurement.measure(measurement.tasks(run.models([10])))
    metrics(measurement.findings)                        # a row for each model: lambda_max, H_T ...
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from mpifl import seeds
from mpifl.analysis.hessian.disagreement import compare_clients
from mpifl.analysis.hessian.model import MeasuredModel, Vectors
from mpifl.analysis.hessian.protocols import Protocol, facts
from mpifl.analysis.hessian.quantities import (
    QUANTITIES,
    default_quantities,
    measured_model,
    products,
)
from mpifl.analysis.models.on_ranks import RunOnRanks
from mpifl.analysis.models.stored import StoredModel
from mpifl.curvature import LostInNoise, Memory, Objective, memory
from mpifl.options import BadInput
from mpifl.store import sha256
from mpifl.store.measurements import Finding, Findings


class Task(NamedTuple):
    """A quantity of a model that is not known yet."""

    model: StoredModel
    quantity: str


@dataclass(frozen=True)
class Cost:
    """What tasks will take: an estimate."""

    products: float
    """of the Hessian with a vector"""
    seconds: float
    memory: Memory
    """of one process, beside the data"""


Report = Callable[[str, Finding], None]
"""called on the first rank for each finding, with a label and the finding"""


def silent(label: str, finding: Finding) -> None:
    """The report that prints nothing."""


class Measurement:
    """The curvature of one run by one protocol, kept under `name` in the run's hessian.h5.

    `again` deletes what was found under that name. All ranks of the run's communicator make one and
    call its methods together. Raises BadInput, on all ranks, where the name was used with other
    settings.
    """

    def __init__(
        self, on_ranks: RunOnRanks, protocol: Protocol, name: str = "", again: bool = False
    ) -> None:
        self.on_ranks = on_ranks
        self.protocol = protocol
        self.name = name or protocol.name
        self.run = on_ranks.run
        self.communicator = on_ranks.communicator
        self.on_products: Callable[[int], None] | None = None
        """called with the number of products, after each batch of them"""
        self._products = 0
        self.findings: Findings = self.communicator.agree(lambda: Findings.open(self.run))
        if again:
            self.findings.forget(self.name)
        settings = facts(protocol, on_ranks.reloaded.dataset.checksum)
        settings["precision"] = on_ranks.precision
        self.communicator.agree(lambda: self.findings.begin(self.name, settings))

    def tasks(self, models: Sequence[StoredModel], quantities: Sequence[str] = ()) -> list[Task]:
        """What is not known yet of `quantities`, in order.

        By default all quantities of global models, and of clients' models the cheaper ones; of
        models on chosen samples only what is compared between them.
        """
        known = QUANTITIES[self.protocol.name]
        self.communicator.agree(lambda: _refuse_unknown(quantities, known))
        missing = []
        for number, model in enumerate(models):
            wanted = quantities or default_quantities(model, known)
            for quantity in known:
                if quantity in wanted and not self._is_known(model, quantity):
                    missing.append((number, quantity))
        # What rank 0 reads from its disk holds for all.
        agreed = self.communicator.bcast(missing)
        return [Task(models[number], quantity) for number, quantity in agreed]

    def cost(self, tasks: Sequence[Task]) -> Cost:
        """How long the tasks will take, by a timed product, and the memory that they need."""
        model = self.model(tasks[0].model)
        H = self.communicator.agree(model.timed)
        H.watch = None
        probe = torch.ones(1, H.dimension, dtype=H.dtype, device=H.device)
        H(probe)
        start = time.perf_counter()
        H(probe)
        seconds_each = self.communicator.bcast(time.perf_counter() - start)
        layout = self.on_ranks.net.layout
        counts = [products(self.protocol, task.quantity, layout) for task in tasks]
        samples = [len(self._indices(task.model)) for task in tasks]
        # A product over other samples takes longer in proportion to their number.
        scaled = sum(count * n / samples[0] for count, n in zip(counts, samples, strict=True))
        basis = 8 * getattr(self.protocol, "top", 0)
        here = memory(H.objective, model.w, basis) if self.communicator.is_server else None
        return Cost(sum(counts), seconds_each * scaled, self.communicator.bcast(here))

    def measure(self, tasks: Sequence[Task], report: Report = silent) -> None:
        """Measure the tasks, and keep each finding at once. Raises BadInput where it cannot."""
        measured: tuple[StoredModel, MeasuredModel] | None = None
        for task in tasks:
            if measured is None or task.model is not measured[0]:
                measured = (task.model, self.model(task.model))
            self._measure(task, measured[1], report)

    def _measure(self, task: Task, model: MeasuredModel, report: Report) -> None:
        compute = QUANTITIES[self.protocol.name][task.quantity]
        start = time.perf_counter()
        before = self._products
        finding, vectors = self.communicator.agree(lambda: compute(model))
        spent = {"products": self._products - before, "seconds": time.perf_counter() - start}
        whole = replace(finding, facts={**self._about(task.model), **spent, **finding.facts})
        path = f"{self.name}/{task.model.path}/{task.quantity}"
        self.keep(path, whole, f"{task.model.label} {task.quantity}", report, vectors)

    def knows(self, path: str, weights_sha256: str) -> bool:
        """Whether there is a finding at `path` about these weights. All ranks call it."""
        finding = self.findings.found.get(path)
        known = finding is not None and finding.facts["weights_sha256"] == weights_sha256
        return self.communicator.bcast(known)

    def keep(
        self,
        path: str,
        finding: Finding,
        label: str,
        report: Report = silent,
        vectors: Vectors | None = None,
    ) -> None:
        """Store a finding with its long `vectors`, and report it. All ranks call it."""

        def on_server() -> None:
            if not self.communicator.is_server:
                return
            if vectors:
                about = {"weights_sha256": finding.facts["weights_sha256"]}
                self.findings.add_vectors(path, vectors, about)
            self.findings.add(path, finding)
            report(label, finding)

        self.communicator.agree(on_server)

    def compare(self, models: Sequence[StoredModel], report: Report = silent) -> None:
        """Compute H_N and H_D of each round whose clients (two at least) are all measured.

        Raises BadInput where a client's diagonal has been lost.
        """

        def on_server() -> None:
            if self.communicator.is_server:
                self._compare(models, report)

        self.communicator.agree(on_server)

    def model(self, stored: StoredModel) -> MeasuredModel:
        """A stored model with its objective and a seed.

        The seed is its own. Models on chosen samples share their round's: they are compared.
        """
        number = 0 if stored.client is None or stored.on is not None else stored.client + 1
        seed = seeds.integer(self.protocol.seed, "curvature", stored.round, number)

        def objective(purpose: str) -> Objective:
            samples = self.on_ranks.samples(self.protocol.split)
            data = self.protocol.data_source(
                samples,
                self._indices(stored),
                self.communicator.rank,
                self.communicator.size,
                augmentation=self.on_ranks.reloaded.config.data.augment,
                purpose=f"{stored.path} {purpose}",
            )
            return self.on_ranks.objective(stored, data)

        weights = self.on_ranks.vector(stored.weights)
        return measured_model(self.protocol, weights, seed, objective, self._count)

    def _indices(self, model: StoredModel) -> np.ndarray:
        """The samples on which a model is measured."""
        if model.on is not None:
            return model.on.indices
        split = self.protocol.split
        labels = getattr(self.on_ranks.reloaded.dataset, split).labels
        if model.client is None or split == "test":
            return self.protocol.sample_indices(labels, None, ())
        return self.protocol.sample_indices(labels, self.run.part(model.client), (model.client,))

    def _about(self, model: StoredModel) -> dict[str, Any]:
        indices = self._indices(model)
        return {
            "weights_sha256": model.sha256,
            "samples": len(indices),
            "indices_sha256": sha256(np.asarray(indices, "<i8")),
        }

    def _is_known(self, model: StoredModel, quantity: str) -> bool:
        path = f"{self.name}/{model.path}"
        finding = self.findings.found.get(f"{path}/{quantity}")
        if finding is None or finding.facts["weights_sha256"] != model.sha256:
            return False
        if quantity == "diagonal" and model.client is not None:
            # Clients are compared by their diagonals' elements, whose file may have been deleted.
            return self.findings.has_vectors(f"{path}/{quantity}")
        return True

    def _compare(self, models: Sequence[StoredModel], report: Report) -> None:
        by_round: dict[int, list[StoredModel]] = {}
        for model in models:
            if model.client is not None:
                by_round.setdefault(model.round, []).append(model)
        for round, clients in sorted(by_round.items()):
            label = f"round {round} clients"
            try:
                finding = compare_clients(self.findings, self.name, self.protocol.name, clients)
            except LostInNoise as problem:  # everything else is found, and stays
                report(label, Finding({}, {"problem": str(problem)}))
                continue
            if finding is not None:
                self.findings.add(f"{self.name}/round_{round:06d}/clients/disagreement", finding)
                report(label, finding)

    def _count(self, products: int) -> None:
        self._products += products
        if self.on_products is not None:
            self.on_products(products)


def _refuse_unknown(quantities: Sequence[str], known: Iterable[str]) -> None:
    unknown = sorted(set(quantities) - set(known))
    if unknown:
        expected = f"some of {', '.join(known)}"
        raise BadInput(f"--quantities: expected {expected}; got {', '.join(unknown)}")
