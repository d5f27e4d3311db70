"""The memory format in which a network computes: channels last where it can, because convolutions then are faster."""

from collections.abc import Sequence

import torch
from torch import nn

__all__ = ["memory_format"]


@torch.no_grad()
def memory_format(model: nn.Module, image_shape: Sequence[int]) -> torch.memory_format:
    """Return channels last if the network takes such images, else the contiguous format.

    Networks that flatten by `x.view(len(x), -1)` after a convolution take contiguous images only. The network runs
    once, in eval mode, on a grey image on its own device, and is left as it was.

    Parameters
    ----------
    model
        Maps images (N, C, H, W) to logits.
    image_shape
        (C, H, W).
    """
    modes = {module: module.training for module in model.modules()}
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    image = torch.full((1, *image_shape), 0.5, device=device).to(memory_format=torch.channels_last)
    model.eval().to(memory_format=torch.channels_last)
    try:
        model(image)
    except Exception:  # if the network does not take contiguous images either, its next caller learns why
        return torch.contiguous_format
    else:
        return torch.channels_last
    finally:
        model.to(memory_format=torch.contiguous_format)
        for module, mode in modes.items():
            module.training = mode
