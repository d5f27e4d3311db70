"""Data sets by name: images in [0, 1] and labels, in a train and a test split.

Shape letters: N images, C channels, H rows, W columns.
"""

import contextlib
import functools
import inspect
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from eadbench.harness.datasets.image_files import DecodedOnce, common_mode, decode, read_files
from eadbench.harness.errors import UserError
from eadbench.harness.parquet.images import read_image_table
from eadbench.harness.spec.parameters import look_up
from eadbench.harness.spec.yaml import shown
from eadbench.models import digest_of, sha256_of_file

__all__ = ["DATASETS", "DataSet", "Split", "gather", "load"]


class Split(Dataset[tuple[Tensor, int]]):
    """One split of a data set. An image's index here is its name in the results.

    Parameters
    ----------
    labels
        int64 (N,).
    read
        Given indices, the images: uint8 in 0..255 or float32 in [0, 1], (n, C, H, W).
    """

    def __init__(self, labels: Sequence[int] | Tensor, read: Callable[[Sequence[int]], Tensor]) -> None:
        self.labels = torch.as_tensor(labels, dtype=torch.int64)
        self._read = read

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """One image, float32 (C, H, W) in [0, 1], and its label."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, int]]:
        """Many at once; a data loader asks for its batches so."""
        return list(zip(self.images(indices), self.labels[list(indices)].tolist(), strict=True))

    def images(self, indices: Sequence[int]) -> Tensor:
        """Images by index, float32 (n, C, H, W) in [0, 1].

        Raises
        ------
        IndexError
            An index outside 0..N-1.
        """
        outside = [index for index in indices if not 0 <= index < len(self)]
        if outside:
            raise IndexError(f"image {outside[0]} is not in 0..{len(self) - 1}")
        images = self._read(indices)
        return images.float().div_(255) if images.dtype == torch.uint8 else images


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set as an experiment uses it.

    Parameters
    ----------
    name
        Its name in the rows of results.
    identity
        Its name in recipes: equal for equal images. For the user's own files, the name and a
        fingerprint: of the bytes of Parquet files, of the names and sizes of images in a folder.
    classes
        The number of classes; labels are 0..classes - 1.
    class_names
        One a class.
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


def digits() -> DataSet:
    """scikit-learn's digits: 1397 training and 400 test images, 8x8 grey, stratified by class."""
    from sklearn.datasets import load_digits  # takes seconds to import

    bunch = load_digits()
    images = torch.from_numpy(bunch.images / 16).float().unsqueeze(1)
    labels = torch.from_numpy(bunch.target)
    # Evenly spaced over the images in order of their class: stratified, and free of any generator's version.
    by_class = torch.argsort(labels, stable=True)
    test = torch.zeros(len(labels), dtype=torch.bool)
    test[by_class[torch.arange(400) * len(labels) // 400]] = True
    return _in_memory("digits", (images[~test], labels[~test]), (images[test], labels[test]), _numbered(10))


def mnist(root: str = "data", download: bool = True) -> DataSet:
    """MNIST, 60,000 and 10,000 images, 28x28 grey, in `root`/MNIST/raw as torchvision keeps it."""
    train, test = _torchvision("MNIST", "MNIST", root, download)
    return _in_memory(
        "mnist",
        (train.data.unsqueeze(1), train.targets),
        (test.data.unsqueeze(1), test.targets),
        _numbered(10),
    )


def cifar10(root: str = "data", download: bool = True) -> DataSet:
    """CIFAR-10, 50,000 and 10,000 images, 32x32 RGB, in `root`/cifar-10-batches-py as in torchvision."""
    train, test = _torchvision("CIFAR10", "CIFAR-10", root, download)
    return _in_memory(
        "cifar10",
        (torch.from_numpy(train.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(train.targets)),
        (torch.from_numpy(test.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(test.targets)),
        tuple(train.classes),
    )


def parquet(
    path: str,
    called: str | None = None,
    image_column: str = "img",
    label_column: str = "label",
    train: str = "train*.parquet",
    test: str = "test*.parquet",
) -> DataSet:
    """Parquet files in a folder, as the Hugging Face hub lays out image data sets.

    A split is decoded when an image of it is first asked for, and kept in memory as bytes. In the results
    the data set is `called` so, or else like the folder.
    """
    root = _existing_folder(path)
    files = [_matching(root, pattern) for pattern in (train, test)]
    tables = [read_image_table(found, image_column, label_column) for found in files]
    classes = 1 + max(max(table.labels) for table in tables)
    class_names = tables[0].class_names or _numbered(classes)
    if classes > len(class_names):
        raise UserError(f"{root}: label {classes - 1} is not among the {len(class_names)} named classes")
    mode = common_mode([io.BytesIO(image) for image in tables[0].encoded])
    name = called or root.resolve().name
    contents = [[sha256_of_file(file) for file in found] for found in files]
    return DataSet(
        name=name,
        identity=f"{name}@{digest_of([contents, image_column, label_column])}",
        classes=len(class_names),
        class_names=class_names,
        shape=_shape(decode(io.BytesIO(tables[0].encoded[0]), mode, None, f"image 0 of {root / train}")),
        train=Split(tables[0].labels, DecodedOnce(tables[0].encoded, mode, f"{root / train}")),
        test=Split(tables[1].labels, DecodedOnce(tables[1].encoded, mode, f"{root / test}")),
    )


def folder(path: str, called: str | None = None, size: int | None = None) -> DataSet:
    """A folder of images, `train/<class>/<image>` and `test/<class>/<image>` (or `val/`).

    Images are decoded whenever they are asked for. With `size`, the shorter side is resized to it and the
    centre square kept; without, all images must have the same sides. In the results the data set is `called`
    so, or else like the folder.
    """
    root = _existing_folder(path)
    train = _image_folder(root / "train")
    test = _image_folder(root / "test" if (root / "test").is_dir() else root / "val")
    unknown = sorted(set(test.classes) - set(train.classes))
    if unknown:
        raise UserError(f"{test.root} has the class {unknown[0]!r}, which {train.root} lacks")
    # The test folder may lack a class, and then numbers the others differently.
    test_labels = [train.class_to_idx[test.classes[label]] for label in test.targets]
    files = [[Path(file) for file, _ in split.samples] for split in (train, test)]
    mode = common_mode(files[0])
    name = called or root.resolve().name
    # Names and sizes only: to read every byte of a large folder could take hours.
    listing = [[(file.relative_to(root).as_posix(), file.stat().st_size) for file in split] for split in files]
    return DataSet(
        name=name,
        identity=f"{name}@{digest_of([listing, size])}",
        classes=len(train.classes),
        class_names=tuple(train.classes),
        shape=_shape(decode(files[0][0], mode, size, str(files[0][0]))),
        train=Split(train.targets, functools.partial(read_files, files[0], mode, size)),
        test=Split(test_labels, functools.partial(read_files, files[1], mode, size)),
    )


DATASETS: Mapping[str, Callable[..., DataSet]] = {
    "digits": digits,
    "mnist": mnist,
    "cifar10": cifar10,
    "parquet": parquet,
    "folder": folder,
}


def load(name: str, **parameters: Any) -> DataSet:
    """A data set of `DATASETS`, or of an import path.

    Raises
    ------
    UserError
        An unknown name, a parameter that is unknown or missing, or files that are not as they should be.
    """
    loader: Callable[..., DataSet] = look_up(name, DATASETS, "data set")
    signature = inspect.signature(loader)
    try:
        signature.bind(**parameters)
    except TypeError as error:
        takes = ", ".join(str(parameter) for parameter in signature.parameters.values()) or "no parameters"
        raise UserError(f"data set {name!r}: {error}; it takes {takes}") from error
    try:
        data = loader(**parameters)
    except UserError as error:
        raise UserError(f"dataset: {error}") from error
    if not isinstance(data, DataSet):
        raise UserError(f"dataset: {name} must return a harness.datasets.DataSet, got {type(data).__name__}")
    return data


def at_hand(entry: Mapping[str, Any]) -> DataSet | str:
    """The data set of a spec's entry, or why it is not on this machine. Nothing is fetched."""
    offline = {"download": False} if "download" in entry else {}
    try:
        return load(**{**entry, **offline})
    except UserError as error:
        return str(error)


Labelled = tuple[Tensor, Tensor]
"""Images and their labels."""


def _in_memory(name: str, train: Labelled, test: Labelled, class_names: tuple[str, ...]) -> DataSet:
    splits = [Split(labels, functools.partial(gather, images.numpy())) for images, labels in (train, test)]
    return DataSet(
        name=name,
        identity=name,
        classes=len(class_names),
        class_names=class_names,
        shape=_shape(train[0][0]),
        train=splits[0],
        test=splits[1],
    )


def gather(images: NDArray[Any], indices: Sequence[int]) -> Tensor:
    """Images (n, C, H, W) by index, of images (N, C, H, W) in memory: what a :class:`Split` of them reads.

    They are an array, which the processes of a machine can share where a tensor would be copied into each.
    """
    return torch.from_numpy(images[list(indices)])


def _numbered(classes: int) -> tuple[str, ...]:
    return tuple(str(label) for label in range(classes))


def _shape(image: Tensor) -> tuple[int, int, int]:
    channels, height, width = image.shape
    return channels, height, width


def _torchvision(name: str, title: str, root: str, download: bool) -> tuple[Any, Any]:
    """The training and the test set of one of torchvision's data sets."""
    import torchvision.datasets

    kind = getattr(torchvision.datasets, name)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torchvision prints what it tries
            return kind(root, train=True, download=download), kind(root, train=False, download=download)
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{title} is not in root {root!r} and was not fetched ({reason}); put torchvision's files there, "
            "give the root that has them, or run once with a network and download: true"
        ) from error


def _existing_folder(path: str) -> Path:
    try:
        root = Path(path).expanduser()
        found = root.is_dir()
    except (OSError, RuntimeError):  # a name that is too long, or the home of nobody
        found = False
    if not found:
        raise UserError(f"path must be a folder, got {shown(path)}")
    return root


def _matching(root: Path, pattern: str) -> list[Path]:
    try:
        found = sorted(root.glob(pattern))
    except (ValueError, NotImplementedError) as error:
        raise UserError(f"{pattern!r} is no pattern of file names: {error}") from error
    if not found:
        raise UserError(f"no file in {root} matches {pattern!r}")
    return found


def _image_folder(path: Path) -> Any:
    import torchvision.datasets

    try:
        return torchvision.datasets.ImageFolder(str(path))
    except FileNotFoundError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} must hold a folder of images for each class: {reason}") from error
