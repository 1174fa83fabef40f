"""Curvature of data shared out over ranks: numbers that must not depend on how many there are."""

from __future__ import annotations

import torch
from curvature.nets import batches, net

from mpifl.curvature import Curvature, Objective, diagonal, lanczos, sharpness, spectrum
from mpifl.options import BadInput
from mpifl.parallel.communicator import Communicator


def numbers(communicator: Communicator) -> dict[str, list]:
    made = net("cnn with group norm")
    x, y = (torch.cat(part) for part in zip(*batches(), strict=True))
    own = list(
        zip(
            x.tensor_split(communicator.size)[communicator.rank].split(3),
            _split(y, communicator),
            strict=True,
        )
    )
    objective = Objective(made, own, total=_total(communicator))
    operator = Curvature(objective, made.weights)
    ends = lanczos(operator, 3, 1, tolerance=1e-12)
    found = diagonal(operator, ends.basis, sizes=operator.sizes, most=12)
    return {
        "loss": [operator.loss, *objective.score(made.weights)],
        "product": operator(
            torch.linspace(-1, 1, operator.dimension, dtype=torch.float64)
        ).tolist(),
        "eigenvalues": [*ends.top.values, *ends.bottom.values],
        "diagonal": found.mean.tolist(),
        "traces": found.parts.mean(0).tolist(),
        "moments": [spectrum(operator, starts=2, steps=5).moment(k)[0] for k in (1, 2)],
        "sharpness": [sharpness(objective, made.weights).value],
        "products": [operator.products],
        "refused": _refusal(communicator, made, own),
    }


def _total(communicator: Communicator):
    return lambda vector: torch.from_numpy(communicator.everywhere(vector.numpy()))


def _split(y: torch.Tensor, communicator: Communicator) -> tuple[torch.Tensor, ...]:
    return y.tensor_split(communicator.size)[communicator.rank].split(3)


class Changing:
    """Data that differ at each pass, on the last rank only."""

    def __init__(self, data: list, changes: bool) -> None:
        self.data, self.changes = data, changes

    def __iter__(self):
        self.data = self.data[::-1] if self.changes else self.data
        return iter([(x + self.changes * torch.rand(()), y) for x, y in self.data])


def _refusal(communicator: Communicator, made, own: list) -> list[str]:
    """What every rank says where one rank's data change."""
    data = Changing(own, communicator.rank == communicator.size - 1)
    try:
        Curvature(Objective(made, data, total=_total(communicator)), made.weights)
    except BadInput as error:
        said = str(error)
    return ["got" in line for line in communicator.allgather(said)] == [True] * communicator.size
