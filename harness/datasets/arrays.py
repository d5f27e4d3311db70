"""Data sets of arrays in `.npz`, `.npy` and safetensors files. Nothing is unpickled.

Shape letters: N images, C channels, H rows, W columns.
"""

import functools
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eadbench.harness.datasets.classes import LabelRule, RawLabels, changes_of, classes_of
from eadbench.harness.datasets.data_set import DataSet, Split, gather, shape_of
from eadbench.harness.datasets.encoded import identity_of
from eadbench.harness.datasets.paths import TEST_NAMES, notes_on_splits
from eadbench.harness.datasets.pixels import checked_pixels
from eadbench.harness.errors import UserError
from eadbench.harness.messages import one_line, shown
from eadbench.harness.places import refuse_elsewhere
from eadbench.models import sha256_of_file

__all__ = ["tensors"]

Layout = Literal["NCHW", "NHWC"]
Arrays = Mapping[str, Callable[[], Tensor | NDArray[Any]]]
"""Functions that read an array, by its name in lower case: `train_images`."""

IMAGE_WORDS = ("images", "image", "x", "data")
LABEL_WORDS = ("labels", "label", "y", "targets")
SUFFIXES = (".npz", ".npy", ".safetensors")


def tensors(
    path: str,
    called: str | None = None,
    train: str | None = "train",
    test: str | None = None,
    image_key: str | None = None,
    label_key: str | None = None,
    layout: Layout | None = None,
    labels: LabelRule = "keep",
) -> DataSet:
    """Arrays in `.npz`, `.npy` or `.safetensors` files: images, uint8 or floats in [0, 1], and labels.

    Arrays are named by a split and what they hold: `train_images`, `test_labels`, `x_test`, `y_test`. In a folder, the
    name of a file comes first: `test.npz` with `images` and `labels`, or `test_images.npy` and `test_labels.npy`.

    Parameters
    ----------
    path
        A file of arrays, or a folder of such files.
    train
        What the names of the training arrays begin or end with; null for none.
    test
        What the names of the test arrays begin or end with; unless given, `test`, `val`, `validation` or `valid`, or
        nothing at all. If there are training arrays alone, they serve for both.
    image_key
        What is in the names of arrays of images; unless given, `images`, `image`, `x` or `data`.
    label_key
        What is in the names of arrays of labels; unless given, `labels`, `label`, `y` or `targets`.
    layout
        NCHW or NHWC, where the shape does not tell.
    """
    root, files = _files(path)
    where = f"tensors {path}"
    arrays = {name: read for file in files for name, read in _arrays(file, prefix=file != root)}
    words = _words(image_key, IMAGE_WORDS), _words(label_key, LABEL_WORDS)
    train_names = _pair(arrays, [train], *words) if train else None
    test_names = _pair(arrays, [test] if test else [*TEST_NAMES, ""], *words)
    if test_names is None and test is None:
        test_names = train_names
    if test_names is None:
        known = ", ".join(sorted(arrays)) or "none"
        wanted = f"{test or 'test'}_{words[0][0]} and {test or 'test'}_{words[1][0]}"
        raise UserError(f"{where} needs arrays such as {wanted}; its arrays are {known}")
    images = [_images(arrays, pair, layout, where) for pair in (train_names, test_names)]
    raw = [_labels(arrays, pair, where) for pair in (train_names, test_names)]
    for pair, pixels, numbers in zip((train_names, test_names), images, raw, strict=True):
        if pair and pixels is not None and len(pixels) != len(numbers):
            raise UserError(f"{where}: {pair[0]} has {len(pixels)} images, and {pair[1]} has {len(numbers)} labels")
    classes = classes_of(raw, rule=labels, where=where)
    name = called or root.resolve().stem
    content = [[sha256_of_file(file) for file in files], train_names, test_names, layout]
    tested = images[1]
    if tested is None or not len(tested):
        raise UserError(f"{where}: {test_names[0]} has no images")
    trained = tested[:0] if images[0] is None else images[0]
    if trained.shape[1:] != tested.shape[1:]:
        raise UserError(f"{where}: training images are {trained.shape[1:]}, test images {tested.shape[1:]} (C, H, W)")
    return DataSet(
        name=name,
        identity=identity_of(name, content, changes_of(labels)),
        classes=len(classes.names),
        class_names=classes.names,
        shape=shape_of(torch.from_numpy(tested[0])),
        train=Split(classes.labels[0], functools.partial(gather, trained)),
        test=Split(classes.labels[1], functools.partial(gather, tested)),
        notes=tuple(notes_on_splits(where, train_names, test_names)),
    )


def _files(path: str) -> tuple[Path, list[Path]]:
    """Return the path, and the files of arrays at it."""
    try:
        root = Path(path).expanduser()
        files = sorted(root.iterdir()) if root.is_dir() else [root]
        files = [file for file in files if file.suffix in SUFFIXES and not file.name.startswith(".") and file.is_file()]
    except (OSError, RuntimeError, ValueError):
        files = []
    for file in files:
        refuse_elsewhere(file)
    if not files:
        raise UserError(f"path must be a file of arrays ({', '.join(SUFFIXES)}) or a folder of them, got {shown(path)}")
    return root, files


def _arrays(file: Path, *, prefix: bool) -> Iterator[tuple[str, Callable[[], Tensor | NDArray[Any]]]]:
    """Yield the name of each array of a file, and a function that reads it."""
    start = f"{file.stem}_" if prefix else ""
    if file.suffix == ".npy":
        yield file.stem.lower(), functools.partial(_read, file, None)
        return
    try:
        if file.suffix == ".npz":
            with zipfile.ZipFile(file) as archive:
                names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        else:
            from safetensors import safe_open

            with safe_open(file, framework="pt") as opened:
                names = list(opened.keys())
    except Exception as error:  # damaged bytes make the libraries raise anything
        raise _unreadable(file, error) from error
    for name in names:
        yield f"{start}{name}".lower(), functools.partial(_read, file, name)


def _read(file: Path, name: str | None) -> Tensor | NDArray[Any]:
    """Read an array of a file; a `.npy` file has one, without a name."""
    try:
        if file.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(file, framework="pt") as opened:
                tensor: Tensor = opened.get_tensor(name)
                return tensor
        with file.open("rb") as raw:
            content = np.load(raw, allow_pickle=False)
            return _native(content if name is None else content[name])
    except Exception as error:
        raise _unreadable(file, error) from error


def _native(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array in this machine's byte order; torch takes no other."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _unreadable(file: Path, error: Exception) -> UserError:
    return UserError(f"{file} is not a readable file of arrays: {one_line(error) or type(error).__name__}")


def _words(given: str | None, known: tuple[str, ...]) -> tuple[str, ...]:
    return known if given is None else (given.lower(),)


def _pair(
    arrays: Arrays, splits: list[str], image_words: tuple[str, ...], label_words: tuple[str, ...]
) -> tuple[str, str] | None:
    """Return the names of the arrays of images and labels of the first split that has both."""
    for split in splits:
        names = [_named(arrays, split.lower(), words) for words in (image_words, label_words)]
        if names[0] and names[1]:
            return names[0], names[1]
    return None


def _named(arrays: Arrays, split: str, words: tuple[str, ...]) -> str | None:
    """Return the name of the array of a split that holds what `words` call it."""
    for word in words:
        names = {f"{split}{mark}{word}" for mark in "_-./"} | {f"{word}_{split}"} if split else {word}
        if present := sorted(names & arrays.keys()):
            return present[0]
    return None


def _images(arrays: Arrays, names: tuple[str, str] | None, layout: Layout | None, where: str) -> NDArray[Any] | None:
    """Return images (N, C, H, W), uint8 or float32 in [0, 1]."""
    if names is None:
        return None
    given = arrays[names[0]]()
    what = f"{where}: {names[0]}"
    if isinstance(given, np.ndarray) and (given.dtype.kind not in "uif" or given.dtype.itemsize > 8):
        raise UserError(f"{what} must be uint8 or floats in [0, 1], got {given.dtype}")
    images = torch.as_tensor(given)
    if images.ndim == 3:
        images = images.unsqueeze(1)
    elif images.ndim != 4:
        raise UserError(f"{what} must be images (N, C, H, W), (N, H, W, C) or (N, H, W), got {tuple(images.shape)}")
    elif (layout or _layout(images.shape, what)) == "NHWC":
        images = images.permute(0, 3, 1, 2)
    if images.dtype != torch.uint8:
        images = checked_pixels(images, range(len(images)), None, what)
    return images.contiguous().numpy()


def _layout(shape: torch.Size, what: str) -> Layout:
    """Tell NHWC from NCHW by the axis that has 1 or 3 channels."""
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if first == last:
        raise UserError(f"{what} has the shape {tuple(shape)}; give layout: NCHW or layout: NHWC")
    return "NCHW" if first else "NHWC"


def _labels(arrays: Arrays, names: tuple[str, str] | None, where: str) -> RawLabels:
    """Return the labels of a split: integers, or texts."""
    if names is None:
        return torch.empty(0, dtype=torch.int64)
    given = arrays[names[1]]()
    if given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    if given.ndim != 1:
        raise UserError(f"{where}: {names[1]} must be labels (N,), got {tuple(given.shape)}")
    if isinstance(given, np.ndarray) and given.dtype.kind == "U":
        texts: list[str] = given.tolist()
        return texts
    return torch.as_tensor(given) if not isinstance(given, np.ndarray) or given.dtype.kind in "iu" else given.tolist()
