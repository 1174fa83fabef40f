"""/plugins: what a run stores of its plugins, and what is refused in a file."""

from __future__ import annotations

import numpy as np
import pytest

from mpifl.store import StoredPlugin
from mpifl.store.plugin_texts import arrays, latest, of_arrays, resumed

MINE = StoredPlugin("mine.py", "a" * 64, "", "x = 1\n")
OTHER = StoredPlugin("mine.py", "b" * 64, "", "x = 2\n")
PACKAGE = StoredPlugin("fancy", "", "1.5")


def test_what_is_stored_is_read_again():
    plugins = [MINE, PACKAGE, OTHER._replace(after_round=3)]
    assert of_arrays(arrays(plugins)) == plugins
    assert of_arrays(arrays([])) == []


def test_a_resume_keeps_the_old_texts_and_adds_what_it_has_where_that_differs():
    assert resumed([MINE, PACKAGE], [PACKAGE, MINE], 2) == [MINE, PACKAGE]
    after = resumed([MINE, PACKAGE], [OTHER, PACKAGE], 2)
    now = [OTHER._replace(after_round=2), PACKAGE._replace(after_round=2)]
    assert after == [MINE, PACKAGE, *now]
    assert latest(after) == now
    assert resumed(after, [MINE], 0) == [MINE]  # all rounds are trained again
    assert resumed(after, [MINE], 1) == [MINE, PACKAGE, MINE._replace(after_round=1)]


@pytest.mark.parametrize(
    "changed",
    [
        {"text": np.array([1, 2])},
        {"name": np.array(["one", "two", "three"], object)},
        {"after_round": np.array(["0", "0"], object)},
        {"sha256": np.array([["a"], ["b"]], object)},
    ],
)
def test_arrays_that_do_not_fit_are_refused(changed):
    with pytest.raises(ValueError, match="plugins/"):
        of_arrays({**arrays([MINE, PACKAGE]), **changed})
