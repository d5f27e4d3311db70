"""Data sets of torchvision by name: `torchvision:SVHN`, `torchvision:FashionMNIST`, …"""

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from eadbench.harness.datasets.classes import LabelRule, RawLabels, changes_of, classes_of
from eadbench.harness.datasets.data_set import DataSet
from eadbench.harness.datasets.encoded import encoded_data_set, identity_of
from eadbench.harness.datasets.idx import with_gzipped
from eadbench.harness.datasets.image_files import Encoded, FileImages, decoder_for
from eadbench.harness.datasets.transform import Interpolation, Transform
from eadbench.harness.errors import NotHere, UserError
from eadbench.harness.messages import one_line, shown
from eadbench.models import digest_of

__all__ = ["SPLITS", "torchvision_set"]

SPLITS: Mapping[str, tuple[str, str] | None] = {
    "CIFAR10": None,
    "CIFAR100": None,
    "Country211": ("train", "test"),
    "DTD": ("train", "test"),
    "EMNIST": None,
    "FER2013": ("train", "test"),
    "FGVCAircraft": ("trainval", "test"),
    "FashionMNIST": None,
    "Flowers102": ("train", "test"),
    "Food101": ("train", "test"),
    "GTSRB": ("train", "test"),
    "ImageNet": ("train", "val"),
    "Imagenette": ("train", "val"),
    "KMNIST": None,
    "MNIST": None,
    "OxfordIIITPet": ("trainval", "test"),
    "RenderedSST2": ("train", "test"),
    "STL10": ("train", "test"),
    "SVHN": ("train", "test"),
    "StanfordCars": ("train", "test"),
    "USPS": None,
}
"""torchvision's data sets of classes, with what each calls its training and its test split.

None stands for a parameter `train` that is true or false."""

NOT_FETCHED = ("FER2013", "ImageNet", "StanfordCars")
"""Those that torchvision cannot download."""

OURS = ("root", "train", "download", "transform", "target_transform", "transforms", "loader")
"""Parameters of torchvision's classes that `options` must not have."""


def torchvision_set(name: str) -> Callable[..., DataSet]:
    """Return the loader of a data set of torchvision.

    Raises
    ------
    UserError
        It is none of :data:`SPLITS`.
    """
    if name not in SPLITS:
        close = get_close_matches(name, SPLITS, n=1)
        hint = f" (did you mean torchvision:{close[0]}?)" if close else ""
        raise UserError(f"torchvision: must be followed by one of {', '.join(SPLITS)}; got {shown(name)}{hint}")
    loader = functools.partial(_load, name)
    loader.__doc__ = f"torchvision's {name}.\n\n{inspect.getdoc(_load)}"
    return loader


def _load(
    kind: str,
    root: str = "data",
    download: bool = True,
    called: str | None = None,
    train: str | None = None,
    test: str | None = None,
    options: dict[str, Any] | None = None,
    labels: LabelRule = "keep",
    size: int | None = None,
    crop: int | None = None,
    interpolation: Interpolation = "bilinear",
) -> DataSet:
    """Load a data set of torchvision.

    Parameters
    ----------
    root
        The folder where torchvision keeps data sets.
    download
        Whether to fetch what is missing.
    train, test
        What torchvision calls the two splits, where it has more: `extra` of SVHN, `val` of DTD.
    options
        Other parameters of torchvision's class, such as {split: balanced} of EMNIST.
    """
    transform = Transform(size=size, crop=crop, interpolation=interpolation)
    given, splits = dict(options or {}), SPLITS[kind]
    if foreign := [key for key in given if key in OURS]:
        raise UserError(f"options must not have {foreign[0]!r}; they are other parameters of torchvision's {kind}")
    if splits is None and (train is not None or test is not None):
        raise UserError(f"torchvision:{kind} has no splits to choose from; leave out train and test")
    usual = splits or ("train", "test")
    names = train or usual[0], test or usual[1]
    if names[0] == names[1]:
        raise UserError(f"train and test are both {names[0]!r} of torchvision:{kind}; give two splits")
    parts = [
        _split(kind, root, download, {"train": name == "train"} if splits is None else {"split": name}, given)
        for name in names
    ]
    raw = [_labels(part, f"torchvision:{kind}") for part in parts]
    classes = classes_of(raw, _class_names(parts[1]), rule=labels, where=f"torchvision:{kind}")
    images = [_images(part, f"torchvision:{kind} {name}") for part, name in zip(parts, names, strict=True)]
    changes: dict[str, Any] = transform.changes | changes_of(labels) | ({"options": given} if given else {})
    fingerprint = digest_of([split.tolist() for split in classes.labels])
    return encoded_data_set(
        called or kind,
        identity_of(f"torchvision:{kind}", [names, fingerprint], changes),
        (images[0], images[1]),
        classes,
        transform,
        decoder_for,
    )


def _split(kind: str, root: str, download: bool, split: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """Return one split of a data set of torchvision."""
    import torchvision.datasets

    fetch = {} if kind in NOT_FETCHED else {"download": download}
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torchvision prints its progress
            made = with_gzipped(getattr(torchvision.datasets, kind))
            return made(str(Path(root).expanduser()), **split, **options, **fetch)
    except TypeError as error:
        raise UserError(f"torchvision:{kind} does not take these options: {one_line(error)}") from error
    except Exception as error:  # a missing, cut or foreign file, no network, a missing package
        raise NotHere(
            f"torchvision:{kind} is not in root {root!r} and was not fetched ({one_line(error)}); put torchvision's "
            "files there, give the root that has them, or run once with a network and download: true"
        ) from error


def _labels(part: Any, where: str) -> RawLabels:
    """Return the labels of a split, without decoding its images."""
    values = next((getattr(part, name) for name in ("targets", "labels", "_labels") if hasattr(part, name)), None)
    if values is None:
        values = [label for _, label in _samples(part)]
    try:
        return torch.as_tensor(np.asarray(values))
    except TypeError as error:
        raise UserError(f"{where} has images without a class") from error


def _samples(part: Any) -> Any:
    """Return the pairs of an image and its label that a split keeps."""
    return part.samples if hasattr(part, "samples") else part._samples


def _class_names(part: Any) -> tuple[str, ...] | None:
    """Return the names of the classes, if torchvision has them; ImageNet's have synonyms."""
    names = getattr(part, "classes", None)
    return tuple(", ".join(name) if isinstance(name, tuple) else str(name) for name in names) if names else None


def _images(part: Any, where: str) -> Encoded:
    """Return the images of a split: its files, if it keeps files."""
    files = next((getattr(part, name) for name in ("_image_files", "_images") if hasattr(part, name)), None)
    if files is None and (hasattr(part, "samples") or hasattr(part, "_samples")):
        files = [image for image, _ in _samples(part)]
    if files and isinstance(files[0], str | Path):
        return FileImages(Path(), map(str, files))
    return _Items(part, where)


class _Items:
    """The images of a split that torchvision holds in memory."""

    def __init__(self, part: Any, where: str) -> None:
        self._part, self._where = part, where

    def __len__(self) -> int:
        return len(self._part)

    def __getitem__(self, index: int) -> Image.Image:
        image: Image.Image = self._part[index][0]
        return image

    def where(self, index: int) -> str:
        return f"image {index} of {self._where}"
