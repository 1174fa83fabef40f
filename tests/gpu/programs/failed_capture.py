"""What cannot be captured leaves the stream and the device usable; from torch 2.12 on, also for
other graphs. Before, torch remains unable to capture, so this is a process of its own.
"""

import torch

from mpifl.training.replay import CudaGraph

GPU = torch.device("cuda", 0)


def not_to_capture(x):
    return (x * x.cpu().sum().to(GPU),)


def main() -> None:
    stream = torch.cuda.current_stream()
    try:
        CudaGraph(not_to_capture, [torch.ones(3, device=GPU)], [])
    except RuntimeError:
        pass
    else:
        raise AssertionError("it was captured")
    assert torch.cuda.current_stream() == stream
    assert torch.ones(3, device=GPU).sum().item() == 3
    if torch.__version__ < (2, 12):
        return
    graph = CudaGraph(lambda x: (x + 1,), [torch.ones(3, device=GPU)], [])
    [ones] = graph(torch.zeros(3, device=GPU))
    assert ones.tolist() == [1.0] * 3


if __name__ == "__main__":
    main()
