"""Curvature of a run's stored models, found quantity by quantity and kept as it is found, on one
process or on many.

    shared = Shared(Run.open("runs/demo"), Federation())
    survey = Survey(shared, Exact(samples=500))
    survey.measure(survey.tasks(shared.subjects([10])))
    metrics(survey.findings)                             # a row for each model: lambda_max, H_T ...
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from mpifl import seeds
from mpifl.analysis.hessian.clients import compared
from mpifl.analysis.hessian.protocols import Protocol, facts
from mpifl.analysis.hessian.quantities import OF_CLIENTS, QUANTITIES, Model, Vectors, products
from mpifl.analysis.models.reload_mpi import Shared, Subject
from mpifl.curvature import LostInNoise, Memory, Objective, memory
from mpifl.options import BadInput
from mpifl.store import sha256
from mpifl.store.measurements import Finding, Findings


class Task(NamedTuple):
    """A quantity of a model that is not known yet."""

    subject: Subject
    quantity: str


@dataclass(frozen=True)
class Cost:
    """What the work will take, said before it begins."""

    products: float
    seconds: float
    memory: Memory
    """of one process, beside the data"""


Report = Callable[[str, Finding], None]
"""told of each finding, on the first rank only: what it is of, and the finding"""


def silent(label: str, finding: Finding) -> None:
    """The report that says nothing."""


class Survey:
    """A measurement of one run by one protocol, kept under `name` in its hessian.h5; `again`
    forgets what it found.

    Raises BadInput, on all ranks, for a measurement of that name with other settings.
    """

    def __init__(
        self, shared: Shared, protocol: Protocol, name: str = "", again: bool = False
    ) -> None:
        self.shared, self.protocol, self.name = shared, protocol, name or protocol.name
        self.communicator = shared.communicator
        self.findings = self.communicator.agree(lambda: Findings.open(shared.run))
        if again:
            self.findings.forget(self.name)
        settings = {**facts(protocol, shared.stage.dataset.checksum), "precision": shared.precision}
        self.communicator.agree(lambda: self.findings.begin(self.name, settings))
        self.watch: Callable[[int], None] = lambda products: None
        self._done = 0

    def tasks(self, subjects: Sequence[Subject], quantities: Sequence[str] = ()) -> list[Task]:
        """What is not known yet, in order; by default all of the global models, and the less costly
        of clients'.
        """
        known, open = QUANTITIES[self.protocol.name], []
        self.communicator.agree(lambda: _refuse_unknown(quantities, known))
        for number, subject in enumerate(subjects):
            wanted = quantities or [q for q in known if subject.client is None or q in OF_CLIENTS]
            open += [(number, q) for q in known if q in wanted and not self._known(subject, q)]
        # What rank 0 sees on its disk counts for all.
        return [
            Task(subjects[number], quantity) for number, quantity in self.communicator.bcast(open)
        ]

    def cost(self, tasks: Sequence[Task]) -> Cost:
        """How long the tasks will take, from a timed product, and the memory that they need."""
        model = self.model(tasks[0].subject)
        H = self.communicator.agree(
            lambda: model.operator if self.protocol.name == "exact" else model.changing("timing")
        )
        H.watch = None
        probe = torch.ones(1, H.dimension, dtype=H.dtype, device=H.device)
        H(probe)
        start = time.perf_counter()
        H(probe)
        each = self.shared.first(time.perf_counter() - start)
        counts = [products(self.protocol, task.quantity, self.shared.net.layout) for task in tasks]
        samples = [len(self._indices(task.subject)) for task in tasks]
        whole = sum(count * n / samples[0] for count, n in zip(counts, samples, strict=True))
        basis = 4 * getattr(self.protocol, "top", 0)
        need = self.communicator.bcast(
            memory(H.objective, model.w, basis) if self.communicator.is_server else None
        )
        return Cost(sum(counts), each * whole, need)

    def measure(self, tasks: Sequence[Task], report: Report = silent) -> None:
        """Find what is asked for, and keep each finding as it comes. Raises BadInput where it
        cannot be kept.
        """
        model, of = None, None
        for subject, quantity in tasks:
            if of is not subject:
                model, of = self.model(subject), subject
            find, start, before = (
                QUANTITIES[self.protocol.name][quantity],
                time.perf_counter(),
                self._done,
            )
            finding, vectors = self.communicator.agree(lambda find=find, model=model: find(model))
            spent = {"products": self._done - before, "seconds": time.perf_counter() - start}
            whole = replace(finding, facts={**self._about(subject), **spent, **finding.facts})
            self._keep(f"{self.name}/{subject.path}", quantity, whole, vectors)
            if self.communicator.is_server:
                report(f"{subject.label} {quantity}", whole)

    def compare(self, subjects: Sequence[Subject], report: Report = silent) -> None:
        """H_N and H_D of each round whose clients are all measured, two at least. Raises BadInput."""
        self.communicator.agree(
            lambda: self._compare(subjects, report) if self.communicator.is_server else None
        )

    def model(self, subject: Subject) -> Model:
        """A model at hand, with a seed of its own."""
        number = 0 if subject.client is None else subject.client + 1
        seed = seeds.integer(self.protocol.seed, "curvature", subject.round, number)

        def objective(purpose: str) -> Objective:
            samples, indices = self.shared.samples(self.protocol.split), self._indices(subject)
            share = self.communicator.rank, self.communicator.size
            given = {
                "augmentation": self.shared.stage.config.data.augment,
                "purpose": f"{subject.path} {purpose}",
            }
            return self.shared.objective(
                subject, self.protocol.source(samples, indices, *share, **given)
            )

        return Model(
            self.protocol, self.shared.vector(subject.weights), seed, objective, self._count
        )

    def _indices(self, subject: Subject) -> np.ndarray:
        labels = getattr(self.shared.stage.dataset, self.protocol.split).labels
        if subject.client is None or self.protocol.split == "test":
            return self.protocol.chosen(labels, None, ())
        return self.protocol.chosen(labels, self.shared.run.part(subject.client), (subject.client,))

    def _about(self, subject: Subject) -> dict:
        indices = self._indices(subject)
        digest = sha256(np.asarray(indices, "<i8"))
        return {"weights_sha256": subject.sha256, "samples": len(indices), "indices_sha256": digest}

    def _known(self, subject: Subject, quantity: str) -> bool:
        path = f"{self.name}/{subject.path}"
        finding = self.findings.found.get(f"{path}/{quantity}")
        known = finding is not None and finding.facts["weights_sha256"] == subject.sha256
        # by its elements, which may be gone
        is_compared = quantity == "diagonal" and subject.client is not None
        return known and (not is_compared or self.findings.vectors_file(path).exists())

    def _keep(self, path: str, quantity: str, finding: Finding, vectors: Vectors) -> None:
        def keep() -> None:
            if vectors:
                self.findings.add_vectors(
                    path, vectors, {"weights_sha256": finding.facts["weights_sha256"]}
                )
            self.findings.add(f"{path}/{quantity}", finding)

        self.communicator.agree(lambda: keep() if self.communicator.is_server else None)

    def _compare(self, subjects: Sequence[Subject], report: Report) -> None:
        for round in sorted({subject.round for subject in subjects if subject.client is not None}):
            clients = [
                subject
                for subject in subjects
                if subject.round == round and subject.client is not None
            ]
            try:
                finding = compared(self.findings, self.name, self.protocol.name, clients)
            except LostInNoise as problem:  # all else is found and stays
                report(f"round {round} clients", Finding({}, {"problem": str(problem)}))
                continue
            if finding is not None:
                self.findings.add(f"{self.name}/round_{round:06d}/clients/disagreement", finding)
                report(f"round {round} clients", finding)

    def _count(self, products: int) -> None:
        self._done += products
        self.watch(products)


def _refuse_unknown(quantities: Sequence[str], known: Iterable[str]) -> None:
    if unknown := set(quantities) - set(known):
        raise BadInput(
            f"--quantities: expected some of {', '.join(known)}; got {', '.join(sorted(unknown))}"
        )
