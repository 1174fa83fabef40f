"""Recorded calls: what a function asks of torch, written down once and then repeated.

A step of a small model spends more time between torch's kernels, in modules, losses and autograd,
than inside them. For batches of one shape it makes the same calls on the same tensors, as long as
nothing but the batch differs. So its calls are recorded below autograd, where the backward pass is
calls like any other, and later steps only make these calls. They end in the same bits. On a GPU the
repeated calls are captured as a CUDA graph, which the device runs by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

Outputs = tuple[Tensor, ...]
Function = Callable[..., Outputs]
"""of tensors"""

_DIFFERENT_EACH_TIME = {
    torch.Tag.data_dependent_output,
    torch.Tag.dynamic_output_shape,
    torch.Tag.nondeterministic_seeded,
}
_DETACH = torch.ops.aten.detach.default
_TRANSPOSE = torch.ops.aten.t.default
_FROM_PYTHON = torch.ops.aten.lift_fresh.default


class Differs(Exception):
    """The function may make other calls next time, so it cannot be repeated as recorded."""


def recorded(function: Function, inputs: Sequence[Tensor], static: Iterable[Tensor]) -> Function:
    """A function that repeats the calls of `function(*inputs)` on other inputs of the same shapes.

    The calls may also read and write `static` tensors, which stay where they are. They are made
    once, while they are recorded. Raises Differs where they could be others next time: for random
    numbers, for values read by Python, for sizes that depend on values, and for tensors of unknown
    origin.
    """
    inputs = [tensor.detach() for tensor in inputs]  # one that is given twice becomes two
    recorder = _Recorder(inputs, static)
    # A GPU's backward pass would run in another thread, beside this one's calls.
    with torch.autograd.set_multithreading_enabled(False), recorder:
        outputs = function(*inputs)
    return recorder.replay(outputs)


class _Line(NamedTuple):
    """One call."""

    call: str
    """as Python; empty where none is needed"""
    target: str = ""
    """the variables that its result is assigned to"""
    is_view: bool = False
    """whether it only looks at a tensor in another shape"""


class _Recorder(TorchDispatchMode):
    """Writes each call as a line of Python; tensors are its variables."""

    def __init__(self, inputs: Sequence[Tensor], static: Iterable[Tensor]) -> None:
        super().__init__()
        self._static = {_address(tensor) for tensor in static}
        if any(_address(tensor) in self._static for tensor in inputs):
            raise Differs("an input shares its memory with a tensor that stays where it is")
        # It keeps no tensor that the function has dropped. Before torch 2.10 it also forgets one
        # that only autograd and a cycle of Python objects hold: such a step is not recorded.
        self._name_of = WeakTensorKeyDictionary()
        self._count = 0
        """of variables so far"""
        self._namespace: dict[str, Any] = {"inf": math.inf, "nan": math.nan}
        self._transposed: dict[str, str] = {}
        """of a variable that is another one transposed: that other one"""
        self._lines: list[_Line] = []
        self._used: list[list[str]] = []
        """the variables of each line"""
        self._inputs = [self._named(tensor, "input") for tensor in inputs]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here; True imports the compiler, which takes a second

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _DIFFERENT_EACH_TIME.intersection(func.tags):
            raise Differs(f"it calls {func}")
        result = func(*args, **kwargs)
        if self._is_static_view(func, result):
            return result
        self._used.append([])
        if func is _DETACH:
            return self._is(result, self._text(args[0]))
        if func is _TRANSPOSE:
            original = self._transposed.get(self._name_of.get(args[0], ""))
            if original is not None:
                return self._is(result, original)
        if func is _FROM_PYTHON:
            value = self._constant(result.clone(), "value")  # the function may change the result
            self._lines.append(_Line(f"{value}.clone()", self._target(result)))
            return result
        texts = [self._text(value) for value in args]
        texts += [f"{name}={self._text(value)}" for name, value in kwargs.items()]
        call = f"{self._constant(func._op, 'call')}({', '.join(texts)})"
        target = self._target(result)
        if func is _TRANSPOSE:
            self._transposed[target] = texts[0]
        self._lines.append(_Line(call, target, _is_view(func)))
        return result

    def _is(self, result: Tensor, variable: str) -> Tensor:
        """Note that a result is what `variable` is: no call is needed."""
        self._lines.append(_Line(""))
        self._name_of[result] = variable
        return result

    def replay(self, outputs: Outputs) -> Function:
        """The recorded function."""
        self._used.append([])
        returned = ", ".join(self._text(output) for output in outputs)
        source = [f"def replay({', '.join(self._inputs)}):"]
        for line, finished in zip(self._lines, self._last_uses(), strict=True):
            is_needless = line.is_view and line.target in finished
            if line.call and not is_needless:
                assignment = f"{line.target} = " if line.target else ""
                source.append(f"    {assignment}{line.call}")
            if finished:  # gives its memory back
                source.append(f"    {' = '.join(finished)} = None")
        source.append(f"    return {returned},")
        exec("\n".join(source), self._namespace)
        # Taken out of its own globals, it ends with its last use, and its tensors with it.
        replay: Function = self._namespace.pop("replay")
        return replay

    def _last_uses(self) -> list[list[str]]:
        """For each line, the variables that no later line uses."""
        seen = set(self._inputs) | self._namespace.keys()
        last_uses = []
        for used in reversed(self._used):
            last_uses.append([name for name in dict.fromkeys(used) if name not in seen])
            seen.update(used)
        return last_uses[:0:-1]

    def _is_static_view(self, func: Any, result: Any) -> bool:
        """Whether a call only looks in another shape at a tensor that stays where it is."""
        return _is_view(func) and isinstance(result, Tensor) and _address(result) in self._static

    def _target(self, result: Any) -> str:
        """The variables that a result is assigned to; none where they all exist: in-place calls."""
        if isinstance(result, Tensor):
            return "" if result in self._name_of else self._named(result, "v")
        if result is None:
            return ""
        if not isinstance(result, list | tuple):
            raise Differs("it reads a number, which another step may find to be another")
        names = []
        for part in result:
            is_tensor = isinstance(part, Tensor)
            names.append(self._named(part, "v") if is_tensor else "_")
        return ", ".join(names) + ","

    def _text(self, value: Any) -> str:
        """An argument, as Python."""
        if isinstance(value, Tensor):
            return self._variable(value)
        if isinstance(value, list | tuple):
            return "[" + ", ".join(self._text(part) for part in value) + "]"
        if value is None or isinstance(value, bool | int | float | str):
            return repr(value)
        if isinstance(value, torch.UntypedStorage | torch.TypedStorage):
            raise Differs("it copies a tensor's memory")
        return self._constant(value, "constant")

    def _variable(self, tensor: Tensor) -> str:
        if tensor not in self._name_of:
            if tensor.numel() and _address(tensor) not in self._static:
                raise Differs(f"it uses a tensor {list(tensor.shape)} that is not its own")
            self._name_of[tensor] = self._constant(tensor.detach(), "static")
        name: str = self._name_of[tensor]
        self._used[-1].append(name)
        return name

    def _named(self, tensor: Tensor, kind: str) -> str:
        """The variable of a new tensor."""
        name = f"{kind}{self._count}"
        self._count += 1
        self._name_of[tensor] = name
        if self._used:
            self._used[-1].append(name)
        return name

    def _constant(self, value: Any, kind: str) -> str:
        name = f"{kind}{len(self._namespace)}"
        self._namespace[name] = value
        return name


def _is_view(func: Any) -> bool:
    """Whether a call only looks at a tensor in another shape."""
    alias = func._schema.returns[0].alias_info if func._schema.returns else None
    return alias is not None and not alias.is_write


def _address(tensor: Tensor) -> int:
    """Where the memory is that a tensor and all views of it share."""
    return tensor.untyped_storage().data_ptr()


class CudaGraph:
    """A function of tensors as one CUDA graph: inputs are copied in, and the device does the rest.

    The function is called a few times first, so that libraries choose their kernels and take their
    memory. Graphs of one `pool` share the memory of what is between inputs and outputs, and those
    that were captured on one `stream` share workspaces of cuBLAS, so only one of them may run at a
    time. Nothing else may use the stream meanwhile. Raises RuntimeError where no graph can be made.
    """

    _WARM_UPS = 3

    def __init__(
        self,
        function: Function,
        inputs: Sequence[Tensor],
        static: Iterable[Tensor],
        pool: Any = None,
        stream: Any = None,
    ) -> None:
        self._function = function  # it keeps constants alive, which the graph reads
        stays = {_address(tensor) for tensor in static}
        self._inputs = [tensor.clone() for tensor in inputs]
        self._run, self._outputs = self._captured(function, pool, stream)
        self._is_static = [_address(output) in stays for output in self._outputs]

    def _captured(
        self, function: Function, pool: Any, stream: Any
    ) -> tuple[Callable[[], object], Outputs]:
        """What runs the graph of `function` on `_inputs`, and the tensors that it writes."""
        current = torch.cuda.current_stream()
        stream = stream or torch.cuda.Stream()
        stream.wait_stream(current)
        try:
            with torch.cuda.stream(stream):
                for _ in range(self._WARM_UPS):
                    function(*self._inputs)
        finally:
            current.wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # What other threads ask of the device meanwhile is no error of this one: MPI's, and lanes
        # that train.
        capture = torch.cuda.graph(
            graph, pool=pool, stream=stream, capture_error_mode="thread_local"
        )
        try:
            with capture:
                outputs = function(*self._inputs)
        finally:
            torch.cuda.set_stream(current)  # a capture that fails leaves its own stream behind
        return graph.replay, outputs

    def __call__(self, *inputs: Tensor) -> Outputs:
        """The outputs: static tensors themselves, and copies of the others."""
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        self._run()
        outputs = []
        for output, is_static in zip(self._outputs, self._is_static, strict=True):
            outputs.append(output if is_static else output.clone())
        return tuple(outputs)
