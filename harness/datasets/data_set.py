"""Data sets: two splits of images in [0, 1] and labels.

Shape letters: N images, C channels, H rows, W columns.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

__all__ = ["DataSet", "Split", "gather", "in_memory", "numbered", "shape_of"]


class Split(Dataset[tuple[Tensor, int]]):
    """One split of a data set. The index of an image identifies it in the results.

    Parameters
    ----------
    labels
        int64 (N,).
    read
        Function from n indices to images (n, C, H, W): uint8 in 0..255, or float32 in [0, 1].
    """

    def __init__(self, labels: Sequence[int] | Tensor, read: Callable[[Sequence[int]], Tensor]) -> None:
        self.labels = torch.as_tensor(labels, dtype=torch.int64)
        self._read = read

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
        """
        outside = [index for index in indices if not 0 <= index < len(self)]
        if outside:
            raise IndexError(f"image {outside[0]} is not in 0..{len(self) - 1}")
        images = self._read(indices)
        return images.float().div_(255) if images.dtype == torch.uint8 else images


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set with a training and a test split.

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
    """

    name: str
    identity: str
    classes: int
    class_names: tuple[str, ...]
    shape: tuple[int, int, int]
    train: Split
    test: Split


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
        shape=shape_of(train[0][0]),
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
