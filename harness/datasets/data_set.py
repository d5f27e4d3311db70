"""Data sets: two splits of images in [0, 1] and labels.

Shape letters: N images, C channels, H rows, W columns.
"""

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from eadbench.harness.datasets.pixels import checked_pixels
from eadbench.harness.errors import UserError
from eadbench.harness.messages import shown

__all__ = ["DataSet", "Split", "gather", "in_memory", "numbered", "shape_of"]


class Split(Dataset[tuple[Tensor, int]]):
    """One split of a data set. The index of an image identifies it in the results.

    Parameters
    ----------
    labels
        Integers (N,).
    read
        Function from n indices to images (n, C, H, W): uint8 in 0..255, or floats in [0, 1].

    Raises
    ------
    UserError
        The labels are not integers (N,).
    """

    name = ""
    """What messages call the split; its data set sets it."""

    shape: tuple[int, int, int] | None = None
    """(C, H, W) of every image; its data set sets it."""

    def __init__(self, labels: Sequence[int] | Tensor, read: Callable[[Sequence[int]], Tensor]) -> None:
        self.labels = _integers(labels)
        self._read = read

    @property
    def names(self) -> Sequence[str] | None:
        """The names of the image files, relative to the data set's folder; None if the images are no files."""
        names: Sequence[str] | None = getattr(self._read, "names", None)
        return names

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return one image, float32 (C, H, W) in [0, 1], and its label."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, int]]:
        """Return several images and labels; PyTorch's data loader calls this for a batch."""
        return list(zip(self.images(indices), self.labels[list(indices)].tolist(), strict=True))

    def images(self, indices: Sequence[int]) -> Tensor:
        """Return images by index, float32 (n, C, H, W) in [0, 1].

        Raises
        ------
        IndexError
            An index is outside 0..N-1.
        UserError
            An image is damaged, has another shape or type than it should, or has values that are not in [0, 1].
        """
        outside = [index for index in indices if not 0 <= index < len(self)]
        if outside:
            raise IndexError(f"image {outside[0]} is not in 0..{len(self) - 1}")
        if not len(indices) and self.shape is not None:
            return torch.empty(0, *self.shape)
        return checked_pixels(self._read(indices), indices, self.shape, f"{self.name} image".lstrip())


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set with a training and a test split. The training split is empty if the data set has none.

    Parameters
    ----------
    name
        Name in the rows of results.
    identity
        Name in recipes, equal for equal images. For the user's own files it is the name and a fingerprint: of the bytes
        of Parquet files, or of the names and sizes of the images in a folder.
    classes
        Number of classes; labels are 0..classes - 1.
    class_names
        One name per class.
    shape
        (C, H, W) of every image.
    train, test
        The splits.
    notes
        What a user should know of how the data set was read, each in one line: files that were left out, or one split
        that serves for both.

    Raises
    ------
    UserError
        The number of names is not that of the classes, a label is not in 0..classes - 1, or there are no images.
    """

    name: str
    identity: str
    classes: int
    class_names: tuple[str, ...]
    shape: tuple[int, int, int]
    train: Split
    test: Split
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.class_names) != self.classes:
            raise UserError(f"{self.name}: has {self.classes} classes and {len(self.class_names)} names of them")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise UserError(f"{self.name}: images must have a shape (C, H, W) of at least 1 each, got {self.shape}")
        for name in ("train", "test"):
            split = copy.copy(getattr(self, name))
            if not isinstance(split, Split):
                raise UserError(f"{self.name}: {name} must be a Split, got {type(split).__name__}")
            outside = ((split.labels < 0) | (split.labels >= self.classes)).nonzero()
            if len(outside):
                label = int(split.labels[outside[0]])
                where = f"{self.name}: {name} image {int(outside[0])}"
                raise UserError(f"{where} has the label {label}; labels must lie in 0..{self.classes - 1}")
            split.name, split.shape = name, self.shape
            object.__setattr__(self, name, split)
        if not len(self.train) + len(self.test):
            raise UserError(f"{self.name}: has no images")

    @functools.cached_property
    def empty_classes(self) -> tuple[int, ...]:
        """The classes that have a name but no image, in either split."""
        return tuple(sorted({*range(self.classes)} - {*self.target_classes}))

    @functools.cached_property
    def target_classes(self) -> tuple[int, ...]:
        """The classes that have an image in some split, ascending. No example is aimed at another class.

        A network that was trained on these images never saw the other classes, so that attacks cannot reach them.
        """
        return tuple(sorted({*self.train.labels.tolist(), *self.test.labels.tolist()}))


Labelled = tuple[Tensor, Tensor]
"""Images and their labels."""


def in_memory(name: str, train: Labelled, test: Labelled, class_names: tuple[str, ...]) -> DataSet:
    """Return a data set of two splits in memory."""
    splits = [Split(labels, functools.partial(gather, images.numpy())) for images, labels in (train, test)]
    return DataSet(
        name=name,
        identity=name,
        classes=len(class_names),
        class_names=class_names,
        shape=shape_of(test[0][0]),
        train=splits[0],
        test=splits[1],
    )


def gather(images: NDArray[Any], indices: Sequence[int]) -> Tensor:
    """Return images (n, C, H, W) by index from an array (N, C, H, W); the `read` function of splits in memory.

    The images are an array because the processes of a machine can share it. Each would get its own copy of a tensor.
    """
    return torch.from_numpy(images[list(indices)])


def numbered(classes: int) -> tuple[str, ...]:
    """Return the numbers of the classes as their names."""
    return tuple(str(label) for label in range(classes))


def shape_of(image: Tensor) -> tuple[int, int, int]:
    """Return (C, H, W) of an image."""
    channels, height, width = image.shape
    return channels, height, width


def _integers(labels: Sequence[int] | Tensor) -> Tensor:
    """Return labels as int64 (N,)."""
    try:
        tensor = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"labels must be integers (N,), got {shown(labels)}") from error
    numbers = not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)
    if tensor.ndim != 1 or not (numbers or not len(tensor)):
        raise UserError(f"labels must be integers (N,), got {tensor.dtype} {tuple(tensor.shape)}")
    return tensor.to(torch.int64)
