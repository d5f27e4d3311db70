"""The batch size at which a device attacks the most rows per second."""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from eadbench.attacks.engine.frozen import frozen

LEAST_GAIN = 1.05
"""A batch is doubled while that gives at least this many times the rows per second."""


def fastest_batch_size(
    model: nn.Module, image: Tensor, *, most: int = 4096, clock: Callable[[], float] = time.perf_counter
) -> int:
    """Double the batch size from 8 until the gain is under 5 %, memory is short, or `most` is reached.

    Each size is timed over three forward and backward passes.

    Parameters
    ----------
    image : Tensor
        (C, H, W), an image like those to be attacked, on the model's device.
    clock
        Returns the time in seconds.

    Raises
    ------
    torch.OutOfMemoryError
        Memory does not hold a batch of 8.
    """
    with frozen(model):
        size, rate = 8, _rows_per_second(model, image, 8, clock)
        while size < most:
            try:
                doubled_rate = _rows_per_second(model, image, 2 * size, clock)
            except torch.OutOfMemoryError:
                return size
            if doubled_rate < LEAST_GAIN * rate:
                return size
            size, rate = 2 * size, doubled_rate
    return size


def _rows_per_second(model: nn.Module, image: Tensor, size: int, clock: Callable[[], float]) -> float:
    """The fastest of three passes, after one to warm up."""
    batch = image.expand(size, *image.shape).contiguous()
    seconds = []
    for _ in range(4):
        started = clock()
        x = batch.detach().requires_grad_()
        torch.autograd.grad(model(x).sum(), x)
        if x.is_cuda:
            torch.cuda.synchronize()
        seconds.append(clock() - started)
    return size / min(seconds[1:])
