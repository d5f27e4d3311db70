"""Functions that attack as careless libraries do: ``package.module:function`` for specs and tests."""

from typing import Any

import torch
from torch import Tensor


def honest(
    model: Any, inputs: Tensor, labels: Tensor, targeted: bool = False, steps: int = 20, size: float = 0.05
) -> Tensor:
    """Step along the gradient's signs."""
    x = inputs.clone()
    for _ in range(steps):
        x.requires_grad_()
        loss = torch.nn.functional.cross_entropy(model(x), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x)
        x = (x + (-size if targeted else size) * gradient.sign()).detach().clamp(0, 1)
    return x


def dropping(model: Any, inputs: Tensor, labels: Tensor, targeted: bool = False, steps: int = 20) -> Tensor:
    """Go on with the rows that have not succeeded alone."""
    result, left = inputs.clone(), torch.arange(len(inputs))
    for _ in range(steps):
        x = result[left].requires_grad_()
        logits = model(x)
        success = (logits.argmax(1) == labels[left]) == targeted
        loss = torch.nn.functional.cross_entropy(logits, labels[left], reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x)
        x = (x + (-0.05 if targeted else 0.05) * gradient.sign()).detach().clamp(0, 1)
        result[left] = torch.where(success[:, None, None, None], result[left], x)
        left = left[~success]
        if not len(left):
            break
    return result


def outside(model: Any, inputs: Tensor, labels: Tensor) -> Tensor:
    """Return images outside of [0, 1], and NaN."""
    result = inputs + 3
    result[0] = torch.nan
    return result


def black(model: Any, inputs: Tensor, labels: Tensor, targeted: bool = False) -> Tensor:
    """Return black images."""
    return torch.zeros_like(inputs)


def aborting(model: Any, inputs: Tensor, labels: Tensor) -> Tensor:
    """Fail on the batch."""
    raise RuntimeError("shape mismatch\nin a stack of lines")


def wrong_shape(model: Any, inputs: Tensor, labels: Tensor) -> Tensor:
    """Return fewer images."""
    return inputs[:-1]


def spending(model: Any, inputs: Tensor, labels: Tensor, targeted: bool = False) -> Tensor:
    """Never end, whatever it costs."""
    return honest(model, inputs, labels, targeted, steps=10**9)


def repeating(model: Any, inputs: Tensor, labels: Tensor, targeted: bool = False) -> Tensor:
    """Query every image twice in one batch."""
    model(torch.cat([inputs, inputs]))
    return honest(model, inputs, labels, targeted)
