"""The images that a training sees: held-out ones apart, the others augmented, and labels smoothed."""

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset, Subset

from eadbench.models.hyperparameters import Training

__all__ = ["augmented", "smoothed", "split"]


def split(data: Dataset[Any], training: Training) -> tuple[Dataset[Any], Dataset[Any] | None]:
    """Return the images to train on, and those held out, drawn by the training's seed; None if there are none."""
    if not training.held_out:
        return data, None
    size = len(data)  # type: ignore[arg-type]
    order = torch.randperm(size, generator=torch.Generator().manual_seed(training.seed)).tolist()
    held_out = min(max(1, round(training.held_out * size)), size - 1)
    return Subset(data, sorted(order[held_out:])), Subset(data, sorted(order[:held_out]))


def augmented(data: Dataset[Any], training: Training) -> Dataset[Any]:
    """Return the images with the training's augmentation, which draws from torch's global random state."""
    return _Augmented(data, training) if training.crop or training.flip else data


class _Augmented(Dataset[Any]):
    def __init__(self, data: Dataset[Any], training: Training) -> None:
        from torchvision.transforms import v2  # torchvision takes a second to import

        side = data[0][0].shape[-2:]
        crops = [v2.RandomCrop(side, padding=training.crop)] if training.crop else []
        self._transform = v2.Compose([*crops, *([v2.RandomHorizontalFlip()] if training.flip else [])])
        self._data = data

    def __len__(self) -> int:
        return len(cast("Any", self._data))

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        image, label = self._data[index]
        return self._transform(image), label


def smoothed(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """Return class numbers (B,) as smoothed probabilities (B, K). Probabilities stay as they are."""
    if not smoothing or labels.is_floating_point():
        return labels
    return functional.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes
