"""Titles of axes, and the units in which their values are easy to read."""

from __future__ import annotations

TITLES = {
    "accuracy": "test accuracy",
    "loss": "test loss",
    "flops": "training",
    "bytes": "sent up and down",
    "seconds": "time",
}
"""on axes; other quantities keep their names"""

UNITS = {
    "flops": (
        (1e18, "EFLOP"),
        (1e15, "PFLOP"),
        (1e12, "TFLOP"),
        (1e9, "GFLOP"),
        (1e6, "MFLOP"),
        (1, "FLOP"),
    ),
    "bytes": ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "bytes")),
    "seconds": ((86400, "days"), (3600, "h"), (60, "min"), (1, "s")),
}


def title(quantity: str, unit: str = "") -> str:
    """The title of an axis."""
    words = TITLES.get(quantity, quantity.replace("_", " "))
    return f"{words}, {unit}" if unit else words


def unit(quantity: str, largest: float) -> tuple[float, str]:
    """The factor and the name of the unit for values of `quantity` up to `largest`.

    >>> unit("bytes_to_target", 3.2e9), unit("test_accuracy", 0.9), unit("lr", 0.1)
    ((1e-09, 'GB'), (100.0, '%'), (1.0, ''))
    """
    if "accuracy" in quantity or quantity.endswith("_gap"):
        return 100.0, "%"
    steps = UNITS.get(quantity.split("_")[0], ((1, ""),))
    size, name = next((step for step in steps if largest >= 2 * step[0]), steps[-1])
    return 1 / size, name
