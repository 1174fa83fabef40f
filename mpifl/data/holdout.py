"""What is held out of training: domains, whole clients, a part of each other client's samples.

Yuan et al. 2022 (ICLR, "What do we mean by generalization in federated learning?") split a
federation in three: training samples of clients that train, held-out samples of the same clients,
and samples of clients that never train. The partition stays as it is; its random draws do not
depend on what is held out.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from mpifl import seeds
from mpifl.data.partition.parts import Parts
from mpifl.options import BadInput, Fraction, NonNegativeInt, options


@options
class HoldOut:
    """What of the training samples is held out of training, to test on."""

    ratio: NonNegativeInt = 0
    """one in ratio + 1 of each client's samples is held out, as the client's own test set; a client
    of one sample keeps it. 4 is Yuan et al.'s; 0: none
    """
    clients: Fraction | tuple[NonNegativeInt, ...] = 0.0
    """clients that never train: a share of all of them, or their numbers"""
    unseen: Literal["all", "share"] = "all"
    """on which samples of such clients models are tested: all, or as of other clients one in
    ratio + 1
    """
    domains: tuple[str | NonNegativeInt, ...] = ()
    """domains that never train, by name or number: all of their images are the test set, and the
    test images of the other domains are the validation set; for data with domains
    """

    @property
    def is_nothing(self) -> bool:
        """Whether every client trains on all of its samples, of the domains that train."""
        return not self.ratio and not self.clients

    def participants(self, clients: int, seed: int) -> np.ndarray:
        """int64: those of `clients` that may train, ascending; drawn by `seed`.

        Raises BadInput where none would be left, a client's number does not exist, or a share of
        its samples is to be tested on and there is no `ratio`.
        """
        if self.unseen == "share" and self.clients and not self.ratio:
            raise BadInput("holdout.unseen: expected holdout.ratio above 0 with share; got 0")
        if isinstance(self.clients, tuple):
            unseen = np.unique(np.array(self.clients, dtype=np.int64))
        elif self.clients:
            count = max(1, int(self.clients * clients + 0.5))
            unseen = seeds.generator(seed, "held-out clients").permutation(clients)[:count]
        else:
            unseen = np.zeros(0, dtype=np.int64)
        if len(unseen) and unseen.max() >= clients:
            raise BadInput(
                f"holdout.clients: expected numbers below {clients}, the number of clients; got "
                f"{unseen.max()}"
            )
        if len(unseen) >= clients:
            raise BadInput(
                f"holdout.clients: expected at least one client that trains; got all {clients} "
                "held out"
            )
        return np.setdiff1d(np.arange(clients), unseen)


class Held(NamedTuple):
    """A partition, divided into what trains and what is held out. C clients."""

    training: Parts
    """each client's training samples; none for clients that never train"""
    own: Parts
    """each client's own test set: samples that never train"""
    participants: np.ndarray
    """int64: the clients that may train, ascending"""

    @property
    def unseen(self) -> np.ndarray:
        """int64: the clients that never train, ascending."""
        return np.setdiff1d(np.arange(len(self.training)), self.participants)


def hold_out(holdout: HoldOut, parts: Parts, seed: int) -> Held:
    """Divide the samples of a partition, by `seed`.

    Raises BadInput where no client would be left to train, or a client number does not exist.
    """
    clients = np.arange(len(parts))
    if holdout.is_nothing:
        nothing = Parts(np.zeros(0, np.int64), np.zeros(len(parts) + 1, np.int64))
        return Held(parts, nothing, clients)
    participants = holdout.participants(len(parts), seed)
    tested = np.zeros(len(parts.indices), bool)
    if holdout.ratio:
        for client, start, stop in zip(
            clients.tolist(), parts.offsets[:-1].tolist(), parts.offsets[1:].tolist(), strict=True
        ):
            tested[start + _positions(holdout.ratio, client, stop - start, seed)] = True
    owners = np.repeat(clients, parts.sizes)
    is_unseen = ~np.isin(owners, participants)
    if holdout.unseen == "all" or not holdout.ratio:
        tested |= is_unseen
    training = ~tested & ~is_unseen
    return Held(parts.take(training), parts.take(tested), participants)


def _positions(ratio: int, client: int, samples: int, seed: int) -> np.ndarray:
    """Which of a client's samples, by their place, are held out."""
    if samples < 2:
        return np.zeros(0, dtype=np.int64)
    count = -(-samples // (ratio + 1))
    return seeds.generator(seed, "held-out samples", client).permutation(samples)[:count]
