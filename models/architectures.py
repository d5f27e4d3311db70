"""Convolutional networks of the paper's experiments, and a small one for tests and examples.

Shape letters: N images, C channels, H rows, W columns, K classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["ConvNet", "carlini_wagner_cifar10", "carlini_wagner_mnist", "digits"]


class ConvNet(nn.Module):
    """Two blocks of two 3x3 convolutions and a 2x2 max pool, two hidden layers, logits.

    The pattern of Carlini and Wagner, "Towards Evaluating the Robustness of Neural Networks" (2017), table I.

    Parameters
    ----------
    image_shape
        (C, H, W) of the input images.
    channels
        Output channels of both convolutions of the first and of the second block.
    hidden
        Units of each of the two hidden layers, with dropout of 0.5 between them.
    padding
        Zero padding of each convolution: 0 as in the paper; 1 keeps H and W.
    num_classes
        K.
    """

    preprocessing = "subtracts 0.5 from every pixel"
    """What `forward` does to images in [0, 1] before its first layer."""

    def __init__(
        self,
        *,
        image_shape: tuple[int, int, int],
        channels: tuple[int, int],
        hidden: int,
        padding: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        self.image_shape = image_shape
        depth, height, width = image_shape
        layers: list[nn.Module] = []
        for block in channels:
            layers += [nn.Conv2d(depth, block, 3, padding=padding), nn.ReLU()]
            layers += [nn.Conv2d(block, block, 3, padding=padding), nn.ReLU(), nn.MaxPool2d(2)]
            depth = block
            height, width = (_side_after_block(side, padding) for side in (height, width))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(depth * height * width, hidden),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, K) of images (N, C, H, W) in [0, 1], which are first centred to [-0.5, 0.5]."""
        shape = tuple(images.shape[1:])
        if shape != self.image_shape:
            raise ValueError(f"the network takes images {_shape_text(self.image_shape)}, got {_shape_text(shape)}")
        logits: Tensor = self.classifier(torch.flatten(self.features(images - 0.5), 1))
        return logits


def _side_after_block(side: int, padding: int) -> int:
    """Return the height or width of the features after two convolutions and a pool."""
    return (side - 2 * (2 - 2 * padding)) // 2


def _shape_text(shape: Sequence[int]) -> str:
    """Return a shape as ``1x28x28``."""
    return "x".join(str(side) for side in shape)


def carlini_wagner_mnist(*, num_classes: int = 10) -> ConvNet:
    """Build Carlini and Wagner's MNIST network: conv 32-32-pool-64-64-pool, dense 200-200, 28x28 grey."""
    return ConvNet(image_shape=(1, 28, 28), channels=(32, 64), hidden=200, padding=0, num_classes=num_classes)


def carlini_wagner_cifar10(*, num_classes: int = 10) -> ConvNet:
    """Build Carlini and Wagner's CIFAR-10 network: conv 64-64-pool-128-128-pool, dense 256-256, 32x32 RGB."""
    return ConvNet(image_shape=(3, 32, 32), channels=(64, 128), hidden=256, padding=0, num_classes=num_classes)


def digits(*, num_classes: int = 10) -> ConvNet:
    """Build the same pattern for scikit-learn's 8x8 digits: conv 16-16-pool-32-32-pool, dense 64-64."""
    return ConvNet(image_shape=(1, 8, 8), channels=(16, 32), hidden=64, padding=1, num_classes=num_classes)
