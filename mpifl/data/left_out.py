"""Domains that are left out of training, to test on (domain generalisation).

All images of a left-out domain, of both splits, become the test set. The test images of the other
domains become the validation set, by which a round may be chosen without a look at the test. Mean
and deviation, by which images are normalised, are those of the images that train.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mpifl.data.dataset import Dataset, Split, moments
from mpifl.options import BadInput, suggestion


def numbers(domains: Sequence[str | int], names: Sequence[str], data: str) -> list[int]:
    """The numbers, ascending, of the `domains` that are left out, given by name or number.

    `names` are those of all domains of the `data`. Raises BadInput for what cannot be left out.
    """
    if not domains:
        return []
    if not names:
        raise BadInput(
            f"holdout.domains: expected data with domains; got {data}, which has none; allowed: "
            "data packed from DOMAIN/CLASS folders (`mpifl data images`), or none left out"
        )
    found = [_number(domain, names) for domain in domains]
    if len(set(found)) != len(found):
        raise BadInput(f"holdout.domains: expected each domain once; got {_listed(domains)}")
    if len(found) == len(names):
        raise BadInput(
            f"holdout.domains: expected at least one domain that trains; got all {len(names)} of "
            f"{data} left out"
        )
    return sorted(found)


def _number(domain: str | int, names: Sequence[str]) -> int:
    if isinstance(domain, str) and domain in names:
        return list(names).index(domain)
    if isinstance(domain, int) and domain < len(names):
        return domain
    raise BadInput(
        f"holdout.domains: expected names of domains, or numbers below {len(names)}; got "
        f"{domain!r}{suggestion(domain, names)}"
    )


def _listed(domains: Sequence[str | int]) -> str:
    return ", ".join(map(str, domains))


def leave_out(dataset: Dataset, domains: Sequence[str | int]) -> Dataset:
    """The data set with all images of `domains` as its test, and none of them in training.

    The checksum stays that of the whole data set. Raises BadInput for what cannot be left out.
    """
    chosen = numbers(domains, dataset.domain_names, dataset.name)
    if not chosen:
        return dataset
    train_is_out, test_is_out = is_left_out(
        chosen, dataset.train.domains, dataset.test.domains, dataset.domain_names
    )
    train = dataset.train.take(np.flatnonzero(~train_is_out))
    validation = dataset.test.take(np.flatnonzero(~test_is_out))
    of_train = dataset.train.take(np.flatnonzero(train_is_out))
    of_test = dataset.test.take(np.flatnonzero(test_is_out))
    mean, std = moments(train.images)
    return replace(
        dataset,
        train=train,
        test=_joined(of_train, of_test),
        validation=validation if len(validation) else None,
        mean=mean,
        std=std,
        left_out=tuple(dataset.domain_names[number] for number in chosen),
    )


def is_left_out(
    chosen: Sequence[int],
    train: np.ndarray | None,
    test: np.ndarray | None,
    names: Sequence[str],
) -> tuple[np.ndarray, np.ndarray]:
    """bool [n] of each split: which samples are of the `chosen` domains; from int64 [n] domains.

    Raises BadInput where a chosen domain has no samples, or no other has training samples.
    """
    if train is None or test is None:
        raise ValueError("expected domains of all samples; got none")
    for number in chosen:
        if not (train == number).any() and not (test == number).any():
            raise BadInput(
                f"holdout.domains: expected domains with samples; got {names[number]}, of which "
                "there are none; allowed: another domain, or a larger data.train_limit"
            )
    train_is_out = np.isin(train, chosen)
    if train_is_out.all():
        raise BadInput(
            "holdout.domains: expected another domain with training samples; got "
            f"{_listed([names[number] for number in chosen])} left out, which all of them are of"
        )
    return train_is_out, np.isin(test, chosen)


def _joined(first: Split, second: Split) -> Split:
    """The samples of two splits that both have domains, and say alike whose samples they are."""
    domains = _together(first.domains, second.domains)
    clients = _together(first.clients, second.clients)
    images = np.concatenate([first.images, second.images])
    return Split(images, np.concatenate([first.labels, second.labels]), domains, clients)


def _together(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    if first is None or second is None:
        return None
    return np.concatenate([first, second])
