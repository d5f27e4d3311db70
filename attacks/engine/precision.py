"""A model whose gradients are computed in lower precision, while successes are tested in its own precision."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal["float32", "tf32", "bf16"]


class Wrapper(nn.Module):
    """A victim as an attack is given it."""

    precision: Precision
    """The precision of its passes."""

    @property
    def exact(self) -> nn.Module:
        """The victim in its own precision."""
        raise NotImplementedError


class LowerPrecision(Wrapper):
    """A model that attacks descend in TF32 or bfloat16; they test every iterate that they keep in float32.

    An iterate at the margin often succeeds in bfloat16 and fails in float32. An attack that tested only its final
    images in float32 would lose many of them.

    Parameters
    ----------
    model
        Images (N, C, H, W) in [0, 1] to logits (N, K), in float32.
    precision
        "tf32": matrix products and convolutions of a GPU that has it, inside :func:`gradient_precision`; "bf16":
        torch's autocast, on a GPU or on a CPU that has bfloat16 instructions. Logits are float32 either way.
    """

    def __init__(self, model: nn.Module, precision: Precision) -> None:
        super().__init__()
        if precision not in ("tf32", "bf16"):
            raise ValueError(f"precision must be tf32 or bf16, got {precision!r}")
        self.model, self.precision = model, precision

    @property
    def exact(self) -> nn.Module:
        """The model that it wraps."""
        return self.model

    def forward(self, images: Tensor) -> Tensor:
        """The logits (N, K) of `images` (N, C, H, W)."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            logits: Tensor = self.model(images)
        return logits.float()


def exact_model(model: nn.Module) -> nn.Module:
    """The model in its own precision."""
    return model.exact if isinstance(model, Wrapper) else model


@contextmanager
def gradient_precision(model: nn.Module) -> Iterator[None]:
    """Allow TF32, forward and backward, if the model asks for it; restore torch's flags on leaving."""
    if not isinstance(model, Wrapper) or model.precision != "tf32":
        yield
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = True
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
