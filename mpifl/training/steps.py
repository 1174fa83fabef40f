"""Which gradients of local steps are replayed (`runtime.graphs`), and which are made anew."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from mpifl.losses.loss import Loss, Sum, Wrapper
from mpifl.losses.step import Step
from mpifl.net import Net
from mpifl.terminal import say
from mpifl.training.gradients import Gradient
from mpifl.training.replay import CudaGraph, Differs, Function, Outputs, recorded

Answers = dict[Callable[[Step], Any], Any]
"""what a step was given, by who gave it"""

Graphs = Literal["auto", "yes", "no"]

_SMALL = 100_000
"""parameters: on a CPU, a larger network's kernels take much longer than what is between them"""
_BEFORE = 2
"""batches of a shape that are not replayed: a shape that is rare is not worth a recording"""
_MOST_GRAPHS = 32
"""of one net on a GPU, with what could not be recorded: each takes its memory"""
_MOST_RECORDINGS = 128
"""of one net on a CPU, likewise: each takes up to a megabyte"""
_MOST_OF_A_KIND = 4
"""recordings of steps that differ only in what they were given, such as a model or none"""
_MOST_SEEN = 1000
"""kinds of steps that are counted: an algorithm's pull may be another one in each round"""


class Taken(NamedTuple):
    """What a step takes from its minibatch."""

    gradient: Tensor
    """[d], with the algorithm's terms, clipped"""
    loss: Tensor
    correct: Tensor
    vectors: tuple[Tensor, ...]
    """those that the step has put in the place of its oracle's first ones"""

    def flat(self) -> Outputs:
        """All in one tuple."""
        return (self.gradient, self.loss, self.correct, *self.vectors)

    @classmethod
    def from_flat(cls, tensors: Outputs) -> Taken:
        """The inverse of `flat`."""
        gradient, loss, correct, *vectors = tensors
        return cls(gradient, loss, correct, tuple(vectors))


class _Recording(NamedTuple):
    """A step that was recorded."""

    function: Function
    """of the inputs, and then of the tensors that the step is given"""
    answers: Answers
    """what the recorded step was given"""

    def tensors_for(self, step: Step) -> list[Tensor] | None:
        """The tensors that `step` is given; None if it differs in more than their values."""
        tensors: list[Tensor] = []
        for giver, known in self.answers.items():
            answer = step.given(giver)
            expected = _tensors(known)
            if not expected and answer is not known:
                return None
            own = _tensors(answer)
            if [_form(tensor) for tensor in own] != [_form(tensor) for tensor in expected]:
                return None
            tensors += own
        return tensors


def with_tensors(answers: Answers, tensors: list[Tensor]) -> Answers:
    """What a step was given, with these tensors in place of its own."""
    others = iter(tensors)
    changed: Answers = {}
    for giver, answer in answers.items():
        if isinstance(answer, Tensor):
            changed[giver] = next(others)
        elif isinstance(answer, tuple):
            changed[giver] = tuple(next(others) for _ in answer)
        else:
            changed[giver] = answer
    return changed


def _tensors(answer: Any) -> list[Tensor]:
    """The tensors that a step was given; none if it was given a model, or nothing."""
    if isinstance(answer, Tensor):
        return [answer]
    return list(answer) if isinstance(answer, tuple) else []


def _form(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.stride(), tensor.dtype


class Replays:
    """The recorded steps of one loss and one gradient on one net, by the shapes of their batches.

    A step is recorded only with the parts that come with mpifl, whose steps depend on nothing that
    a recording does not see: a loss or a network of yours may count its own calls.
    """

    def __init__(self, net: Net, loss: Loss, gradient: Gradient, graphs: Graphs) -> None:
        self._net = net
        is_worth_it = net.device.type == "cuda" or len(net.weights) <= _SMALL
        wanted = graphs == "yes" or (graphs == "auto" and is_worth_it)
        self._is_on = wanted and all(
            _comes_with_mpifl(part) for part in _parts(net, loss, gradient)
        )
        self._may_fail = graphs == "auto"
        self._is_on_gpu = net.device.type == "cuda"
        self._pool: Any = None
        self._stream: Any = None
        self._seen: dict[Any, int] = {}
        self._recordings: dict[Any, list[_Recording]] = {}
        self._never: set[Any] = set()
        self.replayed = 0
        """steps, so far"""

    def __len__(self) -> int:
        """How many steps are recorded."""
        return sum(len(recordings) for recordings in self._recordings.values())

    def repeat(self, key: Any, step: Step, inputs: list[Tensor]) -> Taken | None:
        """A recorded step of this kind, repeated with other inputs; None if there is none."""
        for recording in self._recordings.get(key, ()):
            given = recording.tensors_for(step)
            if given is not None:
                self.replayed += 1
                return Taken.from_flat(recording.function(*inputs, *given))
        return None

    def learn(
        self, key: Any, step: Step, make: Callable[[], Function], inputs: list[Tensor]
    ) -> None:
        """Perhaps record a step of this kind, after it was taken.

        `make` gives its function of `inputs` and then of the tensors that it was given.
        """
        most = _MOST_GRAPHS if self._is_on_gpu else _MOST_RECORDINGS
        if not self._is_on or key in self._never or len(self) + len(self._never) >= most:
            return
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        self._seen[key] = self._seen.get(key, 0) + 1
        if self._seen[key] < _BEFORE:
            return
        for answer in step.answers.values():
            inputs = inputs + _tensors(answer)
        function = self._record(make(), inputs)
        if function is None:
            self._never.add(key)
            return
        known = self._recordings.setdefault(key, [])
        known.append(_Recording(function, dict(step.answers)))
        if len(known) >= _MOST_OF_A_KIND:
            self._never.add(key)

    def _record(self, function: Function, inputs: list[Tensor]) -> Function | None:
        net = self._net
        moved = [net.weights, net.gradient, *net.module.buffers()]  # by the calls made here
        kept = [tensor.clone() for tensor in moved]
        try:
            if self._is_on_gpu:
                return self._captured(function, inputs)
            return recorded(function, inputs, net.static())
        except Differs:
            return None
        finally:
            for tensor, value in zip(moved, kept, strict=True):
                tensor.copy_(value)

    def _captured(self, function: Function, inputs: list[Tensor]) -> Function | None:
        """A CUDA graph; None where the GPU cannot make one (and need not), now and from now on."""
        static = self._net.static()
        with CAPTURING:
            try:
                if self._pool is None:
                    self._pool = torch.cuda.graph_pool_handle()
                    self._stream = _stream_for_graphs()
                function = recorded(function, inputs, static)
                return CudaGraph(function, inputs, static, self._pool, self._stream)
            except RuntimeError as error:
                if not self._may_fail:
                    raise
                reason = str(error).partition("\n")[0]
            self._is_on = False
            self._recordings.clear()  # a capture that fails may free workspaces of earlier ones
            with suppress(RuntimeError):  # before torch 2.12, of a capture that has failed
                torch.cuda.empty_cache()
        say(
            f"warning: no CUDA graph could be made of a local step ({reason}); such steps run as "
            'with runtime.graphs = "no"',
            error=True,
        )
        return None


CAPTURING = threading.Lock()
"""held while a graph is captured: a capture begins by giving unused memory back, which fails while
another is under way
"""


def _stream_for_graphs() -> Any:
    """Where this thread captures graphs: its own stream; in place of the default one, another."""
    stream = torch.cuda.current_stream()
    return torch.cuda.Stream() if stream == torch.cuda.default_stream() else stream


class Unknown:
    """Stands for what a loss may know of a client's round, where a step must not depend on it."""

    def __getattr__(self, name: str) -> Any:
        raise Differs(f"it asks for {name} of the client's round")


def _parts(net: Net, loss: Loss, gradient: Gradient) -> Iterator[object]:
    yield gradient
    yield from net.module.modules()
    losses = [loss]
    while losses:
        part = losses.pop()
        yield part
        if isinstance(part, Sum):
            losses.extend(part.terms)
        if isinstance(part, Wrapper):
            losses.append(part.loss)


def _comes_with_mpifl(part: object) -> bool:
    if isinstance(part, nn.Module) and (part._forward_hooks or part._forward_pre_hooks):
        return False
    return type(part).__module__.startswith(("mpifl.", "torch.nn."))
