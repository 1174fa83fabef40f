"""Where a rank computes: its GPU, its threads, its memory allocator. Pure rules first, then their
application.
"""

from __future__ import annotations

import ctypes
import os
import socket

import torch

from mpifl.options import BadInput


def gpu_of(worker_on_node: int | None, workers_on_node: int, gpus: int) -> int | None:
    """The GPU of a rank, out of the `gpus` it may see; None where there are none.

    `worker_on_node` counts the node's workers from 0 and skips the server, so that a server beside
    four workers does not shift them; the server (None) takes the GPU that serves the fewest
    workers. More workers than GPUs share them in turn. A rank that the launcher gave one GPU of its
    own sees just that one, and gets it.

    >>> [gpu_of(k, 4, 4) for k in (None, 0, 1, 2, 3)]
    [0, 0, 1, 2, 3]
    >>> [gpu_of(k, 3, 2) for k in (None, 0, 1, 2)]
    [1, 0, 1, 0]
    >>> gpu_of(2, 4, 1), gpu_of(2, 4, 0)
    (0, None)
    """
    if gpus == 0:
        return None
    return (workers_on_node if worker_on_node is None else worker_on_node) % gpus


def threads_of(asked: int, granted: str | None = None) -> int:
    """Threads for one rank: what the config asks, else what Slurm grants each task, else one.

    >>> threads_of(0, None), threads_of(0, "4"), threads_of(2, "4")
    (1, 4, 2)
    """
    return asked or int(granted or os.environ.get("SLURM_CPUS_PER_TASK", 1))


def device_for(asked: str, worker_on_node: int | None, workers_on_node: int) -> torch.device:
    """The torch device of this rank: `asked` is auto, cpu, or cuda (then a missing GPU is an
    error).
    """
    gpus = torch.cuda.device_count() if asked != "cpu" and torch.cuda.is_available() else 0
    index = gpu_of(worker_on_node, workers_on_node, gpus)
    if index is None:
        if asked == "cuda" and worker_on_node is not None:
            raise BadInput(
                f"runtime.device: expected a GPU on {socket.gethostname()}; got none "
                f"(CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', 'unset')}); allowed: auto, cpu, cuda"
            )
        return torch.device("cpu")
    return torch.device("cuda", index)


def settle(device: torch.device, threads: int) -> None:
    """Make this process use `device` and `threads`, in float32 proper, with kernels that repeat
    their bits.
    """
    torch.set_num_threads(threads)
    _keep_freed_memory()
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.enable_flash_sdp(False)  # their backward passes add in no fixed order
    torch.backends.cuda.enable_mem_efficient_sdp(False)
    if device.type == "cuda":
        torch.cuda.set_device(device)


def _keep_freed_memory() -> None:
    """Tell glibc to keep what is freed: it would else map anew the memory of every large activation
    and message.

    Measured: a training step of a small ResNet 1.07 to 1.17 times faster, a Reduce of 44 MB 2.6 to
    4 times.
    """
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(-4, 0)  # M_MMAP_MAX: no block is mapped by itself
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: nor is the heap's end given back
    except (OSError, AttributeError):  # another libc: nothing to tune
        return
