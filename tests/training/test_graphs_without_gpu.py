"""What surrounds CUDA graphs, on the CPU: a stand-in writes its outputs in place, as graphs do."""

import gc
import weakref

import pytest
import tiny
import torch
from torch import Tensor

from mpifl.training import steps
from mpifl.training.gradients import Sam
from mpifl.training.local import Local
from mpifl.training.replay import CudaGraph, Differs, recorded
from mpifl.training.steps import Replays
from tests.training.test_replay import net_for, tiny_loss, trained

MAN = "ce + man"


def stand_in(graph, function, pool, stream):
    outputs = tuple(output.clone() for output in function(*graph._inputs))
    outputs = (function(*graph._inputs)[0], *outputs[1:])

    def run():
        for own, new in zip(outputs, function(*graph._inputs), strict=True):
            own.copy_(new)

    return run, outputs


def refusing(graph, function, pool, stream):
    function(*graph._inputs)
    raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")


@pytest.fixture
def pretended(monkeypatch):
    """pretended(captured): nets on the CPU make graphs with this method."""
    plain = Replays.__init__

    def on_gpu(replays, *given):
        plain(replays, *given)
        replays._is_on_gpu = True

    def pretend(captured):
        monkeypatch.setattr(Replays, "__init__", on_gpu)
        monkeypatch.setattr(CudaGraph, "_captured", captured)
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 0))
        monkeypatch.setattr(steps, "_stream_for_graphs", lambda: None)

    return pretend


def check(graphs, local):
    eager, _ = trained(net_for(MAN), tiny_loss(MAN), local, "no")
    replayed, recordings = trained(net_for(MAN), tiny_loss(MAN), local, graphs)
    for one, other in zip(eager, replayed, strict=True):
        assert torch.equal(one, other)
    return recordings


def test_graphs_that_overwrite_their_outputs_leave_losses_of_earlier_steps_alone(pretended):
    pretended(stand_in)
    assert check("yes", Local(lr=0.01, momentum=0.9, gradient=Sam())) == 2


def test_a_graph_keeps_the_constants_that_it_reads_and_no_more(monkeypatch):
    monkeypatch.setattr(CudaGraph, "_captured", lambda *given: (lambda: None, ()))
    x = torch.ones(2)
    function = recorded(lambda x: (x * x.new_tensor([2.0, 3.0]),), [x], [])
    [constant] = [weakref.ref(v) for v in function.__globals__.values() if isinstance(v, Tensor)]
    graph = CudaGraph(function, [x], [])
    del function
    gc.collect()
    assert constant() is not None
    del graph
    assert constant() is None


def test_where_no_graph_can_be_made_steps_run_as_ever_after_one_warning(pretended, capsys):
    pretended(refusing)
    assert check("auto", Local(lr=0.01)) == 0
    [line] = [text for text in capsys.readouterr().err.splitlines() if "no CUDA graph" in text]
    assert "(CUDA error: operation not permitted when stream is capturing)" in line


def test_where_no_graph_can_be_made_but_is_asked_for_training_fails(pretended):
    pretended(refusing)
    with pytest.raises(RuntimeError, match="operation not permitted"):
        check("yes", Local(lr=0.01))


def test_shapes_beyond_the_most_graphs_of_a_net_are_not_captured(pretended, monkeypatch):
    pretended(stand_in)
    monkeypatch.setattr(steps, "_MOST_GRAPHS", 1)
    assert check("yes", Local(lr=0.01)) == 1


def test_a_recording_that_fails_leaves_weights_gradient_and_buffers_as_they_were():
    net = net_for("ce", "resnet20", {"norm": "batch"})
    net.gradient.fill_(2.0)
    moved = (net.weights, net.gradient, *net.module.buffers())
    before = [tensor.clone() for tensor in moved]
    replays = Replays(net, tiny_loss("ce"), Local().gradient, "yes")

    def halfway(x):
        net.weights.add_(1.0)
        net.gradient.zero_()
        net(x)
        raise Differs("half of it is done")

    net.module.train()
    for _ in range(3):
        replays.learn("a shape", tiny.step(net), lambda: halfway, [torch.ones(2, 3, 16, 16)])
        assert len(replays) == 0
    for tensor, value in zip(moved, before, strict=True):
        assert torch.equal(tensor, value)
