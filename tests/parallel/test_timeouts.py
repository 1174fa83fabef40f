import pytest

from mpifl.parallel.timeouts import Timeouts, from_text


def test_no_text_gives_the_defaults():
    assert from_text("") == Timeouts()


def test_an_unknown_name_is_refused_in_a_line_that_lists_the_names():
    with pytest.raises(ValueError, match=r"MPIFL_TIMEOUTS: got 'bat'; allowed: start, .*, close"):
        from_text("bat=3")
