"""A network inside its normalisation, so that it takes images in [0, 1].

Shape letters: N images, C channels, H rows, W columns, K classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "Normalised", "size_suspicion"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Normalised(nn.Module):
    """A network that subtracts a mean from images in [0, 1] and divides them by a standard deviation.

    Grey images (N, 1, H, W) are repeated into the channels of the mean. Images are not resized.

    Parameters
    ----------
    network
        Returns logits, or an object that has them as `logits`.
    mean, std
        One number per channel.
    size
        (H, W) of the images that the network was made for, if it is known.
    reverse_channels
        Whether the network takes blue, green and red in this order.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        *,
        size: tuple[int, int] | None = None,
        reverse_channels: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.size, self.reverse_channels = network, size, reverse_channels
        order = ", channels reversed" if reverse_channels else ""
        self.preprocessing = f"(x - {list(mean)}) / {list(std)}, by channel{order}"
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, K) of images (N, C, H, W) or (N, 1, H, W) in [0, 1]."""
        channels = images.flip(1) if self.reverse_channels else images
        try:
            output = self.network((channels - self.mean) / self.std)
        except (AssertionError, RuntimeError, ValueError) as error:
            if isinstance(error, torch.OutOfMemoryError) or (hint := self.size_hint(images.shape)) is None:
                raise
            raise RuntimeError(f"{hint} ({' '.join(str(error).split())})") from error
        logits: Tensor = getattr(output, "logits", output)
        return logits

    def size_hint(self, image_shape: Sequence[int]) -> str | None:
        """Return what to do about images of another size than the network was made for; None if there is nothing."""
        if self.size is None or tuple(image_shape[-2:]) == self.size:
            return None
        (rows, columns), (height, width) = image_shape[-2:], self.size
        right = f"give the data set `size: {height}`" if height == width else "resize them"
        return f"the network was made for images of {height}x{width}, not {rows}x{columns}; {right}"


def size_suspicion(model: nn.Module, image_shape: Sequence[int]) -> str | None:
    """Return a warning if a model, or a network inside it, was made for images of another size than (C, H, W)."""
    hints = (module.size_hint(image_shape) for module in model.modules() if isinstance(module, Normalised))
    return next((hint for hint in hints if hint is not None), None)
