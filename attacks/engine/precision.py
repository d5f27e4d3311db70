"""A model whose gradients are taken in lower precision, and whose successes are tested in its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal["float32", "tf32", "bf16"]


class LowerPrecision(nn.Module):
    """A model that an attack descends by TF32 or bfloat16; every iterate that it keeps succeeds in float32.

    In bfloat16 an iterate at the margin often succeeds where it does not in float32: of examples that are tested only
    at the end of a search, many would be lost.

    Parameters
    ----------
    model
        Images (N, C, H, W) in [0, 1] to logits (N, K), in float32.
    precision
        "tf32": matrix products and convolutions of a GPU that has it, while :func:`searching`; "bf16": torch's
        autocast, on a GPU or on a CPU that has bfloat16 instructions. Logits are float32 either way.
    """

    def __init__(self, model: nn.Module, precision: Literal["tf32", "bf16"]) -> None:
        super().__init__()
        if precision not in ("tf32", "bf16"):
            raise ValueError(f"precision must be tf32 or bf16, got {precision!r}")
        self.model, self.precision = model, precision

    def forward(self, images: Tensor) -> Tensor:
        """The logits (N, K) of `images` (N, C, H, W)."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            logits: Tensor = self.model(images)
        return logits.float()


def exact(model: nn.Module) -> nn.Module:
    """The model in its own precision."""
    return model.model if isinstance(model, LowerPrecision) else model


@contextmanager
def searching(model: nn.Module) -> Iterator[None]:
    """While a gradient is taken: TF32 is allowed if the model asks for it, forward and backward."""
    if not isinstance(model, LowerPrecision) or model.precision != "tf32":
        yield
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = True
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
