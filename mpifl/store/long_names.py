"""What each array of a run means: CF attributes `units` and `long_name`, for readers who have only
the file.
"""

from __future__ import annotations

import h5py

_MEANINGS = {
    "round": "communication round",
    "client": "client",
    "label": "class label",
    "test_accuracy": "accuracy of the global model on the test set",
    "test_loss": "mean cross-entropy of the global model on the test set",
    "bytes_up": "bytes sent from the clients to the server",
    "bytes_down": "bytes sent from the server to the clients",
    "sha256": "SHA-256 in hex of the global weights and buffers",
    "loss": "mean training loss of the client's local steps",
    "accuracy": "accuracy on the client's training batches",
    "weight": "weight of the client's reply in the mean",
    "num_samples": "training samples of the client",
    "participated": "1 where the client was in the round's cohort",
    "indices": "indices of the training samples, client after client",
    "offsets": "where each client's samples begin in indices, and the end",
    "label_counts": "samples of each class at each client",
    "global": "weights of the global model, flat: see layout",
    "buffers": "float buffers of the global model, flat: see layout",
    "clients": "weights of each client's model after its local training",
    "client_buffers": "float buffers of each client's model after its local training",
    "client_ids": "the clients, in the order of the rows",
    "name": "name of the tensor in the module",
    "kind": "parameter (in the weights) or buffer (in the buffers)",
    "shape": "shape of the tensor, padded with 0",
    "ndim": "number of axes of the tensor",
    "size": "number of elements of the tensor",
    "offset": "where the tensor begins in its flat vector",
}
_MEANINGS |= {
    f"test_{what}_{which}": f"{words} of {model} on the test set"
    for what, words in (("accuracy", "accuracy"), ("loss", "mean cross-entropy"))
    for which, model in (
        ("cohort", "the mean of the round's local models"),
        ("all", "the mean of all clients' latest"),
    )
}
_MEANINGS |= {
    "lr": "local learning rate of the round",
    "bytes_mpi": "bytes of the buffers that the server's Bcast and Reduce moved",
    "seconds": "duration",
    "seconds_train": "training of the clients; in rounds, of the busiest worker",
    "seconds_wait": "what the server waited for after its own work",
    "clients/cohort": "the clients that took part, round after round",
    "clients/offsets": "where each round begins in the other arrays, and the end",
    "clients/test_accuracy": "accuracy of the client's own model, after its training, on the test set",
}
_UNITS = {"seconds": "s", "bytes": "byte"}


def describe(dataset: h5py.Dataset, name: str) -> None:
    """Set `long_name`, and `units` where the values are numbers."""
    dataset.attrs["long_name"] = _MEANINGS.get(
        dataset.name[1:], _MEANINGS.get(name, name.replace("_", " "))
    )
    if h5py.check_string_dtype(dataset.dtype) is None:
        dataset.attrs["units"] = next(
            (u for prefix, u in _UNITS.items() if name.startswith(prefix)), "1"
        )
