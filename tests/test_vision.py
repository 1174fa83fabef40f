"""torchvision can be imported here, whichever torch is installed."""

import subprocess
import sys

import pytest

from mpifl import vision

FRESH = """
import warnings
warnings.simplefilter("error")
from mpifl import vision
import sys
assert "torchvision" not in sys.modules
print(vision.datasets().CIFAR100.__name__, vision.torchvision().ops.nms.__name__)
"""


@pytest.mark.slow
def test_a_fresh_process_imports_it_lazily_and_without_warnings():
    done = subprocess.run(
        [sys.executable, "-c", FRESH], capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "CIFAR100 nms\n", "")


def test_asking_twice_gives_the_same_module():
    assert vision.datasets() is vision.datasets()
