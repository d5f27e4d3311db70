"""The user's own images: Parquet files in the layout of the Hugging Face hub, and folders of image files."""

import functools
import io
from pathlib import Path
from typing import Any

from eadbench.harness.datasets.data_set import DataSet, Split, numbered, shape_of
from eadbench.harness.datasets.image_files import DecodedOnce, common_mode, decode, read_files
from eadbench.harness.errors import UserError
from eadbench.harness.messages import one_line, shown
from eadbench.harness.parquet.images import read_image_table
from eadbench.models import digest_of, sha256_of_file

__all__ = ["folder", "parquet"]


def parquet(
    path: str,
    called: str | None = None,
    image_column: str = "img",
    label_column: str = "label",
    train: str = "train*.parquet",
    test: str = "test*.parquet",
) -> DataSet:
    """Parquet files in a folder, in the layout of the Hugging Face hub.

    The first access to a split decodes its images and keeps them in memory as bytes. The results name the data set
    `called`, or after the folder unless given.
    """
    root = _existing_folder(path)
    files = [_matching(root, pattern) for pattern in (train, test)]
    tables = [read_image_table(paths, image_column, label_column) for paths in files]
    classes = 1 + max(max(table.labels) for table in tables)
    class_names = tables[0].class_names or numbered(classes)
    if classes > len(class_names):
        raise UserError(f"{root}: label {classes - 1} is not among the {len(class_names)} named classes")
    mode = common_mode([io.BytesIO(image) for image in tables[0].encoded])
    name = called or root.resolve().name
    hashes = [[sha256_of_file(path) for path in paths] for paths in files]
    return DataSet(
        name=name,
        identity=f"{name}@{digest_of([hashes, image_column, label_column])}",
        classes=len(class_names),
        class_names=class_names,
        shape=shape_of(decode(io.BytesIO(tables[0].encoded[0]), mode, None, f"image 0 of {root / train}")),
        train=Split(tables[0].labels, DecodedOnce(tables[0].encoded, mode, f"{root / train}")),
        test=Split(tables[1].labels, DecodedOnce(tables[1].encoded, mode, f"{root / test}")),
    )


def folder(path: str, called: str | None = None, size: int | None = None) -> DataSet:
    """A folder of images, `train/<class>/<image>` and `test/<class>/<image>` (or `val/`).

    Every access decodes the images. With `size`, the shorter side is resized to it and the centre square kept; without
    it, all images must have the same shape. The results name the data set `called`, or after the folder unless given.
    """
    root = _existing_folder(path)
    train = _image_folder(root / "train")
    test = _image_folder(root / "test" if (root / "test").is_dir() else root / "val")
    unknown = sorted(set(test.classes) - set(train.classes))
    if unknown:
        raise UserError(f"{test.root} has the class {unknown[0]!r}, which {train.root} lacks")
    # If the test folder lacks a class, torchvision numbers the others differently there.
    test_labels = [train.class_to_idx[test.classes[label]] for label in test.targets]
    files = [[Path(file) for file, _ in split.samples] for split in (train, test)]
    mode = common_mode(files[0])
    name = called or root.resolve().name
    # Use names and sizes only: reading every byte of a large folder can take hours.
    listing = [[(file.relative_to(root).as_posix(), file.stat().st_size) for file in split] for split in files]
    return DataSet(
        name=name,
        identity=f"{name}@{digest_of([listing, size])}",
        classes=len(train.classes),
        class_names=tuple(train.classes),
        shape=shape_of(decode(files[0][0], mode, size, str(files[0][0]))),
        train=Split(train.targets, functools.partial(read_files, files[0], mode, size)),
        test=Split(test_labels, functools.partial(read_files, files[1], mode, size)),
    )


def _existing_folder(path: str) -> Path:
    """Return a path of the spec that must be a folder."""
    try:
        root = Path(path).expanduser()
        if root.is_dir():
            return root
    except (OSError, RuntimeError):  # the name is too long, or ~user does not exist
        pass
    raise UserError(f"path must be a folder, got {shown(path)}")


def _matching(root: Path, pattern: str) -> list[Path]:
    """Return the files that match a pattern, sorted."""
    try:
        paths = sorted(root.glob(pattern))
    except (ValueError, NotImplementedError) as error:
        raise UserError(f"{pattern!r} is no pattern of file names: {error}") from error
    if not paths:
        raise UserError(f"no file in {root} matches {pattern!r}")
    return paths


def _image_folder(path: Path) -> Any:
    """Return torchvision's data set of a folder with one subfolder per class."""
    import torchvision.datasets

    try:
        return torchvision.datasets.ImageFolder(str(path))
    except FileNotFoundError as error:
        raise UserError(f"{path} must hold a folder of images for each class: {one_line(error)}") from error
