"""How many rows to attack at a time on the device at hand."""

import time

import torch
from torch import Tensor, nn

from eadbench.attacks.engine.frozen import frozen

LEAST_GAIN = 1.05
"""How much more rows a second twice the batch must give to be worth its memory."""


def fastest_batch_size(model: nn.Module, image: Tensor, *, most: int = 4096) -> int:
    """The batch size at which twice as many rows would not pass through the model noticeably faster.

    Doubles from 8, each size timed over three forward and backward passes, until the gain is under 5 %, memory is
    short, or `most` is reached.

    Parameters
    ----------
    image : Tensor
        (C, H, W), any image of those to be attacked, on the model's device.

    Raises
    ------
    torch.OutOfMemoryError
        Memory does not hold a batch of 8.
    """
    with frozen(model):
        size, rate = 8, _rows_a_second(model, image, 8)
        while size < most:
            try:
                doubled = _rows_a_second(model, image, 2 * size)
            except torch.OutOfMemoryError:
                return size
            if doubled < LEAST_GAIN * rate:
                return size
            size, rate = 2 * size, doubled
    return size


def _rows_a_second(model: nn.Module, image: Tensor, size: int) -> float:
    """By the fastest of three passes, after one that does not count."""
    batch = image.expand(size, *image.shape).contiguous()
    times = []
    for _ in range(4):
        started = time.perf_counter()
        x = batch.detach().requires_grad_()
        torch.autograd.grad(model(x).sum(), x)
        if x.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return size / min(times[1:])
