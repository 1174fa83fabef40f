"""Memory said in advance, against the peak of a process."""

import os
import subprocess
import sys

import pytest
from curvature.nets import batches, net

from mpifl.curvature import Objective, memory

PROGRAM = """
import re, torch
from mpifl.curvature import Curvature, Objective, memory
from mpifl.models import MODELS
from mpifl.net import Net
torch.set_num_threads(1)
torch.manual_seed(0)
net = Net(MODELS["cnn"]().build((3, 32, 32), 10))
data = [(torch.randn(100, 3, 32, 32), torch.randint(10, (100,)))]
peak = lambda: 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
operator = Curvature(Objective(net, [(x[:1], y[:1]) for x, y in data]), net.weights)
operator(torch.randn(4, len(net.weights)))
open("/proc/self/clear_refs", "w").write("5")  # from now on, peak is that of what follows
before = peak()
operator.objective.data = data
said = memory(operator.objective, net.weights).total
operator(torch.randn(4, len(net.weights)))
print(said / (peak() - before))
"""


@pytest.mark.slow
def test_the_estimated_memory_is_that_of_the_graph_and_the_vectors():
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
        # else blocks that were freed before are used again, by chance
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"},
    )
    assert 0.6 < float(ended.stdout) < 1.7


def test_memory_grows_with_the_basis():
    objective, w = Objective(net("mlp"), batches()), net("mlp").weights
    assert memory(objective, w, basis=100).vectors - memory(objective, w).vectors == 100 * 431 * 8
