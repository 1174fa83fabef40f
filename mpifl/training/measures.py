"""What an evaluation says about generalisation: columns of /rounds, arrays of /evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mpifl.store.evaluations import NAMES
from mpifl.training.generalisation import (
    PERCENTILES,
    OverClients,
    balanced_accuracy,
    calibration_error,
    over_clients,
    recalls,
    skewed_accuracy,
)
from mpifl.training.tallies import OWN, SOURCE, TEST, TRAIN, EvaluationSet, Tally


class Measures:
    """Turns counts into measures, for an experiment's `sets` (the test set first).

    `participants` (int64) are the clients that may train, `label_counts` (integers [C, K]) all
    clients' training samples by class, `domain_names` those of the data.
    """

    def __init__(
        self,
        sets: Sequence[EvaluationSet],
        participants: np.ndarray,
        label_counts: np.ndarray,
        domain_names: Sequence[str] = (),
    ) -> None:
        self._by_client = {of.name: of.samples_by_client for of in sets}
        self._by_class = {of.name: of.samples_by_class for of in sets}
        self._by_domain = {of.name: of.samples_by_domain for of in sets}
        self._domain_names = np.array(domain_names, object)
        self._participants = participants
        self._label_counts = label_counts[participants]

    def columns(self, tallies: Mapping[str, Tally]) -> dict[str, float]:
        """A value for each measure of the sets that were evaluated."""
        columns: dict[str, float] = {}
        if TEST in tallies:
            columns |= self._of_test(tallies[TEST])
            columns |= self._of_test_domains(tallies[TEST])
        if TEST in tallies and len(tallies[TEST].right_by_client):
            columns |= self._of_own_models_on_test(tallies)
        elif TEST in tallies:
            columns |= self._as_clients_see_it(tallies[TEST])
        if SOURCE in tallies:
            columns |= self._of_sources(tallies[SOURCE])
        if TEST in tallies and TRAIN in tallies:
            columns |= self._of_training(tallies[TRAIN], tallies[TEST])
        if OWN in tallies:
            columns |= self._of_clients(tallies)
        return columns

    def of_own_models(
        self, cohort: np.ndarray, clients: Mapping[str, np.ndarray]
    ) -> dict[str, float]:
        """How right a round's clients (int64 [k]) are on their own test sets, over them, before and
        after their training, from `own_right_before` and `own_right_after` (f8 [k]).
        """
        samples = self._by_client[OWN][cohort]
        known = (samples > 0) & ~np.isnan(clients["own_right_after"])
        columns: dict[str, float] = {}
        for when in ("before", "after"):
            right = clients[f"own_right_{when}"][known]
            columns |= _accuracies(f"own_accuracy_{when}", over_clients(right, samples[known]))
        return columns

    def arrays(self, tallies: Mapping[str, Tally]) -> dict[str, np.ndarray]:
        """The counts of the sets that were evaluated, by their names in /evaluations."""
        arrays = {}
        for name, tally in tallies.items():
            arrays[f"{name}_right_by_class"] = tally.right_by_class
            arrays[f"{name}_samples_by_class"] = self._by_class[name]
            arrays[f"{name}_right_by_bin"] = tally.bin_right
            arrays[f"{name}_count_by_bin"] = tally.bin_samples
            arrays[f"{name}_confidence_by_bin"] = tally.confidences
            if len(tally.right_by_client):
                arrays[f"{name}_right_by_client"] = tally.right_by_client
                arrays[f"{name}_loss_by_client"] = tally.losses
                arrays[f"{name}_samples_by_client"] = self._by_client[name]
            if len(tally.right_by_domain):
                arrays[f"{name}_right_by_domain"] = tally.right_by_domain
                arrays[f"{name}_loss_by_domain"] = tally.domain_losses
                arrays[f"{name}_samples_by_domain"] = self._by_domain[name]
                arrays[NAMES] = self._domain_names
        return arrays

    def _of_test(self, test: Tally) -> dict[str, float]:
        samples = self._by_class[TEST]
        return {
            "test_accuracy_balanced": balanced_accuracy(test.right_by_class, samples),
            "test_accuracy_worst_class": float(np.nanmin(recalls(test.right_by_class, samples))),
            "test_accuracy_top5": test.right_in_top / int(samples.sum()),
            "test_calibration_error": calibration_error(
                test.bin_samples, test.bin_right, test.confidences
            ),
        }

    def _of_own_models_on_test(self, tallies: Mapping[str, Tally]) -> dict[str, float]:
        """How the clients' own models differ on the test set."""
        spread = _spread("test", self._over(tallies, TEST, self._by_client[TEST] > 0))
        for name in ("test_accuracy", "test_accuracy_pooled", "test_loss", "test_loss_pooled"):
            del spread[name]  # each client has the same samples: these are the run's own columns
        return spread

    def _as_clients_see_it(self, test: Tally) -> dict[str, float]:
        """The test accuracy with the classes as frequent as among a client's training samples."""
        recall = recalls(test.right_by_class, self._by_class[TEST])
        seen = skewed_accuracy(recall, self._label_counts)
        known = seen.mass > 0
        over = over_clients(seen.accuracy, known.astype("i8"))
        return {
            "skewed_accuracy": over.mean,
            "skewed_accuracy_worst_tenth": over.worst,
            "skewed_accuracy_worst_client": over.lowest,
            "skewed_mass": float(seen.mass.min()),
        }

    def _of_test_domains(self, test: Tally) -> dict[str, float]:
        """Over the domains of the test set; nothing where it has one, or none."""
        found = over_clients(test.right_by_domain, self._by_domain[TEST])
        if found.clients < 2:
            return {}
        return {
            "test_accuracy_domains": found.mean,
            "test_accuracy_worst_domain": found.lowest,
        }

    def _of_sources(self, source: Tally) -> dict[str, float]:
        """Over the domains that train, where others are left out."""
        samples = self._by_domain[SOURCE]
        accuracy = over_clients(source.right_by_domain, samples)
        return {
            "source_accuracy": accuracy.mean,
            "source_accuracy_pooled": accuracy.pooled,
            "source_accuracy_worst_domain": accuracy.lowest,
            "source_loss": over_clients(source.domain_losses, samples).mean,
        }

    def _of_training(self, train: Tally, test: Tally) -> dict[str, float]:
        trained = int(self._by_class[TRAIN].sum())
        tested = int(self._by_class[TEST].sum())
        accuracy = train.right / trained
        loss = train.loss / trained
        return {
            "train_accuracy": accuracy,
            "train_loss": loss,
            "generalisation_gap": accuracy - test.right / tested,
            "generalisation_gap_loss": test.loss / tested - loss,
        }

    def _of_clients(self, tallies: Mapping[str, Tally]) -> dict[str, float]:
        columns: dict[str, float] = {}
        seen = np.zeros(len(self._by_client[OWN]), bool)
        seen[self._participants] = True
        own = self._over(tallies, OWN, seen)
        if own["accuracy"].clients:
            columns |= _spread("own", own)
        unseen = self._over(tallies, OWN, ~seen)
        if unseen["accuracy"].clients:
            columns |= _spread("unseen", unseen)
        if own["accuracy"].clients and unseen["accuracy"].clients:
            columns |= _gaps("participation_gap", own, unseen)
        if own["accuracy"].clients and TRAIN in tallies:
            both = seen & (self._by_client[OWN] > 0) & (self._by_client[TRAIN] > 0)
            train = self._over(tallies, TRAIN, both)
            columns |= _gaps("out_of_sample_gap", train, self._over(tallies, OWN, both))
        return columns

    def _over(
        self, tallies: Mapping[str, Tally], name: str, of: np.ndarray
    ) -> dict[str, OverClients]:
        """Accuracy and loss over the clients `of` (bool [C])."""
        samples = self._by_client[name][of]
        tally = tallies[name]
        return {
            "accuracy": over_clients(tally.right_by_client[of], samples),
            "loss": over_clients(tally.losses[of], samples),
        }


def _spread(name: str, found: Mapping[str, OverClients]) -> dict[str, float]:
    return _accuracies(f"{name}_accuracy", found["accuracy"]) | {
        f"{name}_loss": found["loss"].mean,
        f"{name}_loss_pooled": found["loss"].pooled,
    }


def _accuracies(name: str, over: OverClients) -> dict[str, float]:
    """Both means and the spread, under `name` and names that begin with it."""
    percentiles = {}
    for q, value in zip(PERCENTILES, over.percentiles, strict=True):
        percentiles[f"{name}_p{q}"] = value
    return percentiles | {
        name: over.mean,
        f"{name}_pooled": over.pooled,
        f"{name}_deviation": over.variance**0.5,
        f"{name}_worst_tenth": over.worst,
        f"{name}_best_tenth": over.best,
        f"{name}_worst_client": over.lowest,
    }


def _gaps(
    name: str, before: Mapping[str, OverClients], after: Mapping[str, OverClients]
) -> dict[str, float]:
    """How much worse models are `after` than `before`: accuracy lost, loss gained."""
    return {
        name: before["accuracy"].mean - after["accuracy"].mean,
        f"{name}_pooled": before["accuracy"].pooled - after["accuracy"].pooled,
        f"{name}_loss": after["loss"].mean - before["loss"].mean,
        f"{name}_loss_pooled": after["loss"].pooled - before["loss"].pooled,
    }
