"""The user's own images: Parquet files in the layout of the Hugging Face hub, and folders of image files."""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch

from eadbench.harness.datasets.classes import Classes, LabelRule, changes_of, classes_of
from eadbench.harness.datasets.data_set import DataSet
from eadbench.harness.datasets.encoded import encoded_data_set, identity_of
from eadbench.harness.datasets.image_files import DecodedOnce, Decoder, FileImages
from eadbench.harness.datasets.paths import TEST_NAMES, existing_folder, notes_on_splits, split_files
from eadbench.harness.datasets.transform import Interpolation, Transform
from eadbench.harness.errors import UserError
from eadbench.harness.parquet.images import ImageTable, column_of, read_image_table
from eadbench.harness.places import of_stranger, refuse_elsewhere
from eadbench.models import sha256_of_file

__all__ = ["IMAGE_COLUMNS", "LABEL_COLUMNS", "folder", "parquet"]

IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("label", "labels")
"""The columns that hold images and labels unless others are given; the first that is there counts."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Which files of a folder are images, as in torchvision."""


def parquet(
    path: str,
    called: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    train: str = "train*.parquet",
    test: str = "test*.parquet",
    labels: LabelRule = "keep",
    size: int | None = None,
    crop: int | None = None,
    interpolation: Interpolation = "bilinear",
) -> DataSet:
    """Parquet files in a folder, in the layout of the Hugging Face hub.

    The first access to a split decodes its images and keeps them in memory as bytes. Labels are numbers, or texts that
    become classes in sorted order.

    Parameters
    ----------
    path
        The folder.
    called
        What results call the data set; unless given, the folder's name.
    image_column
        The column of images; unless given, `img` or `image`.
    label_column
        The column of labels; unless given, `label` or `labels`.
    train
        Pattern of the names of the training files; there may be none.
    test
        Pattern of the names of the test files; by default `val*`, `validation*` or `valid*` serve too.
    labels
        `remap` numbers the classes that occur 0, 1, 2 …, where labels leave gaps.
    size
        Pixels that an image's shorter side is resized to. Unless given, all images must have the same shape.
    crop
        Side of the centre square that is kept; unless given, `size`.
    interpolation
        How resizing interpolates: nearest, bilinear, bicubic or lanczos.
    """
    root = existing_folder(path)
    transform = Transform(size=size, crop=crop, interpolation=interpolation)
    files = split_files(root, train, test, ".parquet")
    image_column = column_of(files[1][0], image_column, IMAGE_COLUMNS)
    label_column = column_of(files[1][0], label_column, LABEL_COLUMNS)
    tables = [read_image_table(paths, image_column, label_column) for paths in files]
    names = [table.class_names for table in tables]
    if all(names) and names[0] != names[1]:
        raise UserError(f"{root}: the test split names other classes than the training split")
    classes = classes_of([table.labels for table in tables], names[0] or names[1], rule=labels, where=str(root))
    name = called or root.resolve().name
    hashes = [[sha256_of_file(path) for path in paths] for paths in files]
    return encoded_data_set(
        name,
        identity_of(name, [hashes, image_column, label_column], transform.changes | changes_of(labels)),
        (_TableImages(tables[0]), _TableImages(tables[1])),
        classes,
        transform,
        DecodedOnce,
        notes_on_splits(root, *files),
    )


class _TableImages:
    """The images of Parquet files."""

    def __init__(self, table: ImageTable) -> None:
        self._encoded, self._rows = table.encoded, table.rows

    def __len__(self) -> int:
        return len(self._encoded)

    def __getitem__(self, index: int) -> bytes:
        return self._encoded[index]

    def where(self, index: int) -> str:
        row = index
        for path, rows in self._rows:
            if row < rows:
                return f"image {index} (row {row} of {path})"
            row -= rows
        raise IndexError(index)


def folder(
    path: str,
    called: str | None = None,
    size: int | None = None,
    crop: int | None = None,
    interpolation: Interpolation = "bilinear",
) -> DataSet:
    """A folder of images, `train/<class>/<image>` and `test/<class>/<image>` (or `val/`).

    Every access decodes the images. With `size`, the shorter side is resized to it and the centre square kept; without
    it, all images must have the same shape. There may be no `train/`; with `train/` alone, or with the folders of the
    classes alone, these images serve for training and test. Names that begin with a dot are ignored; files that are no
    images are counted in a note. An orientation in EXIF data is ignored.

    Parameters
    ----------
    path
        The folder.
    """
    root = existing_folder(path)
    transform = Transform(size=size, crop=crop, interpolation=interpolation)
    train_root, test_root = _split_folders(root)
    left_out = Counter[str]()
    test = _image_names(root, test_root, left_out)
    train = test if train_root == test_root else {} if train_root is None else _image_names(root, train_root, left_out)
    class_names = sorted(train or test)
    unknown = sorted(set(test) - set(class_names))
    if unknown:
        raise UserError(f"{test_root} has the class {unknown[0]!r}, which {train_root} lacks")
    number = {name: label for label, name in enumerate(class_names)}
    names = [[name for folder in split for name in split[folder]] for split in (train, test)]
    labels = tuple(
        torch.tensor([number[folder] for folder in split for _ in split[folder]], dtype=torch.int64)
        for split in (train, test)
    )
    name = called or root.resolve().name
    # Use names and sizes only: reading every byte of a large folder can take hours.
    listing = [[(file, _size(root / file)) for file in split] for split in names]
    changes = {key: value for key, value in transform.changes.items() if key != "size"}
    return encoded_data_set(
        name,
        identity_of(name, [listing, size], changes),
        (FileImages(root, names[0]), FileImages(root, names[1])),
        Classes(names=tuple(class_names), labels=labels),
        transform,
        Decoder,
        [*notes_on_splits(root, train_root, test_root), *_note_on_other_files(root, left_out)],
    )


def _split_folders(root: Path) -> tuple[Path | None, Path]:
    """Return the folders of the training split, None if there is none, and of the test split; one may be both.

    A folder whose folders hold images themselves is one split of these classes.
    """
    train, names = root / "train", [name for name in TEST_NAMES if (root / name).is_dir()]
    if names:
        return train if train.is_dir() else None, root / names[0]
    folders = [entry for entry in root.iterdir() if entry.is_dir() and not _hidden(entry.name)]
    if folders == [train]:
        return train, train
    if not train.is_dir() and any(map(_holds_images, folders)):
        return root, root
    tests = f"{', '.join(TEST_NAMES[:-1])} or {TEST_NAMES[-1]}"
    raise UserError(f"{root} must hold a folder {tests}, of test images, or a folder of images for each class")


def _holds_images(folder: Path) -> bool:
    """Return whether a folder itself holds an image."""
    return any(name.lower().endswith(SUFFIXES) for name in os.listdir(folder))


def _note_on_other_files(root: Path, left_out: Counter[str]) -> list[str]:
    """Return a note that counts the files that are no images, by their suffix; nothing if there are none."""
    if not left_out:
        return []
    kinds = ", ".join(f"{count:,} {suffix or 'without a suffix'}" for suffix, count in left_out.most_common(5))
    return [f"{root}: {left_out.total():,} files are left out ({kinds}); images are {', '.join(SUFFIXES)}"]


def _image_names(root: Path, split: Path, left_out: Counter[str]) -> dict[str, list[str]]:
    """Return the paths of each class's images, relative to `root`, in torchvision's order; count the other files."""
    try:
        folders = sorted(entry.name for entry in os.scandir(split) if entry.is_dir() and not _hidden(entry.name))
        start = "" if split == root else f"{split.name}/"
        images = {name: [f"{start}{path}" for path in _images_below(split, name, left_out)] for name in folders}
    except OSError as error:
        raise UserError(f"{split} cannot be read: {error.strerror or error}") from error
    if not folders:
        raise UserError(f"{split} must hold a folder of images for each class")
    empty = [name for name, names in images.items() if not names]
    if empty:
        kinds = f" ({', '.join(SUFFIXES)})" if left_out else ""
        raise UserError(f"{split / empty[0]} holds no image{kinds}; remove the folder, or give the class images")
    return images


def _images_below(split: Path, class_name: str, left_out: Counter[str]) -> Iterator[str]:
    """Yield the paths of a class's images, relative to `split`; count the other files by their suffix."""

    def refuse(error: OSError) -> None:
        raise error

    places = set[Path]()
    for root, _, names in sorted(os.walk(split / class_name, followlinks=not of_stranger(), onerror=refuse)):
        if (place := Path(root).resolve()) in places:
            raise UserError(f"{root} leads to {place}, whose images the class has already; remove the link")
        places.add(place)
        relative = Path(root).relative_to(split)
        if not any(map(_hidden, relative.parts)):
            for name in sorted(names):
                if _hidden(name):
                    continue
                if name.lower().endswith(SUFFIXES):
                    yield (relative / name).as_posix()
                else:
                    left_out[Path(name).suffix.lower()] += 1


def _hidden(name: str) -> bool:
    return name.startswith(".")


def _size(file: Path) -> int:
    """Return the size in bytes of a regular file."""
    if file.is_symlink():
        refuse_elsewhere(file)
    try:
        status = file.stat()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{file} is no regular file")
    return status.st_size
