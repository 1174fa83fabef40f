"""One line for a GPU that is out of memory: where, how much was missing, and what to lower.

It knows torch's exceptions by their names, so it needs no torch.
"""

from __future__ import annotations

import re
import socket
import traceback

_NAME = "OutOfMemoryError"
_TEXTS = (
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "DEVICE_ALLOCATION_FAILED",
)
"""in other exceptions, of libraries that take memory by themselves"""

_ASKED = re.compile(r"Tried to allocate ([\d.]+ \w+)")
_FREE = re.compile(r"total capacity of ([\d.]+ \w+) of which ([\d.]+ \w+) is free")
_GPU = re.compile(r"\bGPU (\d+)")

_FEWER_RANKS = "RANKS_PER_GPU in a job (the ranks that share a GPU)"
_ADVICE = {
    "training": f'local.batch, runtime.lanes, {_FEWER_RANKS}; or set precision = "bf16", '
    'runtime.graphs = "no"',
    "testing": f'evaluation.batch, {_FEWER_RANKS}; or set precision = "bf16"',
    "Hessian products": f"the batch (mpifl hessian --set batch=50), {_FEWER_RANKS}",
    "": f'local.batch, evaluation.batch, runtime.lanes, {_FEWER_RANKS}; or set precision = "bf16", '
    'runtime.graphs = "no"',
}
"""what to lower, by what ran"""
_FILES = {
    "training/evaluate.py": "testing",
    "training/evaluate_own.py": "testing",
    "training/trainer.py": "training",
    "training/worker.py": "training",
    "training/lanes.py": "training",
    "training/client.py": "training",
    "training/clients.py": "training",
}
_FOLDERS = {"/mpifl/curvature/": "Hessian products"}


def line(error: BaseException) -> str | None:
    """What to say of `error`; None if no GPU is out of memory."""
    if not _is_one(error):
        return None
    doing = _doing(error)
    text = str(error)
    gpu = _GPU.search(text)
    notes = ", ".join(getattr(error, "__notes__", ()))
    where = f" ({notes})" if notes else ""
    during = f" in {doing}" if doing else ""
    which = f"GPU {gpu.group(1)}" if gpu else "a GPU"
    return (
        f"{which} of {socket.gethostname()} is out of memory{during}{where}: "
        f"{_amounts(text)}; lower {_ADVICE[doing]}"
    )


def _is_one(error: BaseException) -> bool:
    if any(kind.__name__ == _NAME for kind in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _TEXTS)


def _amounts(text: str) -> str:
    asked = _ASKED.search(text)
    free = _FREE.search(text)
    parts = []
    if asked:
        parts.append(f"{asked.group(1)} were asked for")
    if free:
        parts.append(f"{free.group(2)} of {free.group(1)} are free")
    return ", ".join(parts) or text.partition("\n")[0]


def _doing(error: BaseException) -> str:
    """What ran: by the innermost file that says so."""
    doing = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        path = frame.f_code.co_filename.replace("\\", "/")
        for end, name in _FILES.items():
            if path.endswith(f"/mpifl/{end}"):
                doing = name
        for folder, name in _FOLDERS.items():
            if folder in path:
                doing = name
    return doing
