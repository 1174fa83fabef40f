"""CF attributes of each array, `long_name` and `units`: readers may have only the file."""

from __future__ import annotations

import h5py
import numpy as np
from h5py import h5a, h5s, h5t

_LONG_NAMES = {
    # dimensions
    "round": "communication round",
    "client": "client",
    "label": "class label",
    # /rounds
    "test_accuracy": "accuracy of the global model on the test set",
    "test_loss": "mean cross-entropy of the global model on the test set",
    "test_accuracy_cohort": "accuracy of the mean of the round's local models on the test set",
    "test_accuracy_all": "accuracy of the mean of all clients' latest on the test set",
    "test_loss_cohort": "mean cross-entropy of the mean of the round's local models "
    "on the test set",
    "test_loss_all": "mean cross-entropy of the mean of all clients' latest on the test set",
    "test_accuracy_balanced": "mean over classes of the share classified right, on the test set",
    "test_accuracy_worst_class": "the lowest share of a class that is classified right, on the "
    "test set",
    "test_accuracy_top5": "share of test samples whose class is among the 5 largest logits",
    "skewed_accuracy": "test accuracy with the classes as frequent as among a client's training "
    "samples, mean over clients",
    "skewed_mass": "the least part of a client's labels whose classes are in the test set",
    "test_calibration_error": "expected calibration error on the test set, 15 bins of confidence",
    "train_accuracy": "accuracy of the global model on training samples, not augmented",
    "train_loss": "mean cross-entropy of the global model on training samples, not augmented",
    "generalisation_gap": "train_accuracy - test_accuracy",
    "generalisation_gap_loss": "test_loss - train_loss",
    "test_accuracy_domains": "accuracy on the test set, mean over its domains",
    "test_accuracy_worst_domain": "accuracy on the test set, lowest of its domains",
    "source_accuracy": "accuracy on test samples of the domains that train, mean over the domains",
    "source_accuracy_pooled": "accuracy on test samples of the domains that train, over all of "
    "them",
    "source_accuracy_worst_domain": "accuracy on test samples of the domains that train, lowest of "
    "the domains",
    "source_loss": "cross-entropy on test samples of the domains that train, mean over the domains",
    "own_accuracy": "accuracy on participating clients' own test sets, mean over clients",
    "unseen_accuracy": "accuracy on clients that never train, mean over clients",
    "own_accuracy_before": "accuracy of the round's clients on their own test sets before their "
    "training, mean over clients",
    "own_accuracy_after": "accuracy of the round's clients on their own test sets after their "
    "training, mean over clients",
    "own_right_before": "own test samples that the model sent to the client classifies right",
    "own_right_after": "own test samples that the client's model classifies right after training",
    "participation_gap": "own_accuracy - unseen_accuracy",
    "out_of_sample_gap": "accuracy on training samples - on own test sets, mean over the clients "
    "that have both",
    "bytes_up": "bytes sent from the clients to the server",
    "bytes_down": "bytes sent from the server to the clients",
    "bytes_mpi": "bytes of the buffers that the server's Bcast and Reduce moved",
    "flops": "floating-point operations of the clients' training, a multiply-add is two",
    "lr": "local learning rate of the round",
    "steps_taken": "local steps of all clients",
    "steps_replayed": "local steps of all clients that repeated the recording of an earlier one "
    "(runtime.graphs)",
    "lanes": "clients that each rank trained at once (runtime.lanes)",
    "seconds": "duration",
    "seconds_train": "training of the clients; in rounds, of the busiest worker",
    "seconds_wait": "what the server waited for after its own work",
    "sha256": "SHA-256 in hex of the global weights and buffers",
    # /clients
    "loss": "mean training loss of the client's local steps",
    "accuracy": "accuracy on the client's training batches",
    "weight": "weight of the client's reply in the mean",
    "trains": "1 where the client may train; 0 where it is held out",
    "holdout/domains": "the domains that never train: their images are the test set",
    "names_by_domain": "names of the domains",
    "num_samples": "training samples of the client",
    "participated": "1 where the client was in the round's cohort and its reply counts",
    "failed": "why the client's reply was left out: 1 its training loss is not finite, "
    "2 its reply is not finite or far too large, 3 it was too late; 0 it was not",
    "steps": "minibatches that the client trained on",
    "clients_there": "clients that could take part in the round",
    "clients/cohort": "the clients of the cohorts, round after round",
    "clients/offsets": "where each round begins in the other arrays, and the end",
    "clients/test_accuracy": "accuracy of the client's own model, after its training, "
    "on the test set",
    # /timeline
    "rank": "MPI rank",
    "timeline/train": "what the rank spent on training clients",
    "timeline/test": "what the rank spent on tests, of the round before or of clients' own models",
    "timeline/wait": "what the rank waited until all others were there",
    "timeline/communicate": "what the rank spent on messages, and on what clients keep",
    "timeline/write": "what the rank spent on callbacks, files and checkpoints",
    # /partition
    "indices": "indices of the training samples, client after client",
    "offsets": "where each client's samples begin in indices, and the end",
    "label_counts": "samples of each class at each client",
    # /plugins
    "plugins/name": "plugin file, module or installed package",
    "plugins/sha256": "SHA-256 in hex of the plugin's text; empty for an installed package",
    "plugins/version": "version of an installed package; else empty",
    "plugins/text": "Python text of the plugin; never run from here",
    "plugins/after_round": "the run had the plugin after this round; 0: from its start",
    # model files
    "global": "weights of the global model, flat: see layout",
    "buffers": "float buffers of the global model, flat: see layout",
    "clients": "weights of each client's model after its local training",
    "client_buffers": "float buffers of each client's model after its local training",
    "client_ids": "the clients, in the order of the rows",
    # /layout
    "name": "name of the tensor in the module",
    "kind": "parameter (in the weights) or buffer (in the buffers)",
    "shape": "shape of the tensor, padded with 0",
    "ndim": "number of axes of the tensor",
    "size": "number of elements of the tensor",
    "offset": "where the tensor begins in its flat vector",
}
"""by the path of an array in its file, or by its name alone"""

_UNITS = {"seconds": "s", "bytes": "byte"}
"""by the beginning of an array's name"""

_TEXT = h5t.py_create(h5py.string_dtype(), logical=True)
_SCALAR = h5s.create_simple(())


def describe(dataset: h5py.Dataset, name: str) -> None:
    """Set `long_name`, and `units` unless the values are text."""
    path = dataset.name.removeprefix("/")
    by_name = _LONG_NAMES.get(name, name.replace("_", " "))
    _write_text(dataset, "long_name", _LONG_NAMES.get(path, by_name))
    if h5py.check_string_dtype(dataset.dtype) is None:
        _write_text(dataset, "units", _units(path, name))


def _write_text(dataset: h5py.Dataset, name: str, text: str) -> None:
    """Add an attribute, with the bytes of `dataset.attrs[name] = text` in a third of its time.

    Every commit writes hundreds.
    """
    attribute = h5a.create(dataset.id, name.encode(), _TEXT, _SCALAR)
    attribute.write(np.array(text, _TEXT.dtype))


def _units(path: str, name: str) -> str:
    if path.startswith("timeline/") and name not in ("round", "rank"):
        return "s"
    for prefix, units in _UNITS.items():
        if name.startswith(prefix):
            return units
    return "1"
