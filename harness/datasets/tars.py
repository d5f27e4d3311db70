"""Data sets in tar files, in the layout of webdataset: `0001.jpg`, `0001.cls`, `0002.jpg`, `0002.cls`, …"""

import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from eadbench.harness.datasets.classes import LabelRule, changes_of, classes_of
from eadbench.harness.datasets.data_set import DataSet
from eadbench.harness.datasets.encoded import encoded_data_set, identity_of
from eadbench.harness.datasets.image_files import Decoder
from eadbench.harness.datasets.paths import existing_folder, notes_on_splits, split_files
from eadbench.harness.datasets.transform import Interpolation, Transform
from eadbench.harness.errors import UserError
from eadbench.harness.messages import one_line, shown
from eadbench.models import digest_of

__all__ = ["webdataset"]

IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp", "bmp", "ppm", "pgm", "tif", "tiff")
MAX_LABEL = 2**20
"""The most bytes of a file that holds a label."""


def webdataset(
    path: str,
    called: str | None = None,
    train: str = "train*.tar",
    test: str = "test*.tar",
    label_key: str | None = None,
    labels: LabelRule = "keep",
    size: int | None = None,
    crop: int | None = None,
    interpolation: Interpolation = "bilinear",
) -> DataSet:
    """Tar files in a folder, in the layout of webdataset: files of one name are one image and its label.

    The label is in `NAME.cls`, an integer or a text, or in `NAME.json`. The tar files are indexed once and must not be
    compressed; every access decodes the images. Every node needs the same files.

    Parameters
    ----------
    path
        The folder.
    train
        Pattern of the names of the training files; there may be none.
    test
        Pattern of the names of the test files; by default `val*`, `validation*` or `valid*` serve too.
    label_key
        The key of the label in `NAME.json`; unless given, `NAME.cls` is read, or else the key `label` or `cls`.
    """
    root = existing_folder(path)
    transform = Transform(size=size, crop=crop, interpolation=interpolation)
    files = split_files(root, train, test, ".tar")
    indexes = [_indexed(paths, label_key) for paths in files]
    for paths, index in zip(files, indexes, strict=True):
        if paths and not index.names:
            raise UserError(f"{paths[0]} holds no image ({', '.join(IMAGE_SUFFIXES)})")
    classes = classes_of([index.labels for index in indexes], rule=labels, where=str(root))
    name = called or root.resolve().name
    # As for folders: names, sizes and labels, not the bytes of the images.
    content = [
        [[path.name for path in paths], digest_of([index.names, index.sizes, index.labels])]
        for paths, index in zip(files, indexes, strict=True)
    ]
    return encoded_data_set(
        name,
        identity_of(name, content, transform.changes | changes_of(labels)),
        (TarImages(files[0], indexes[0]), TarImages(files[1], indexes[1])),
        classes,
        transform,
        Decoder,
        [*notes_on_splits(root, *files), *_note_on_samples(root, sum(index.without_image for index in indexes))],
    )


def _note_on_samples(root: Path, without_image: int) -> list[str]:
    """Return a note that counts the samples without an image; nothing if each has one."""
    kinds = ", ".join(IMAGE_SUFFIXES)
    return [f"{root}: {without_image:,} samples without an image ({kinds}) are left out"] if without_image else []


@dataclass
class _Index:
    """Where the images of a split are: for each its file, name, offset and size in bytes, and label."""

    files: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    without_image: int = 0
    """Samples that hold no image of a known kind."""


class TarImages:
    """The images of tar files, each read by its place.

    The places are arrays, because the processes of a machine can share them.
    """

    def __init__(self, paths: Sequence[Path], index: _Index) -> None:
        self._paths = list(paths)
        self._places = np.array([index.files, index.offsets, index.sizes], dtype=np.int64).T.copy()

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> bytes:
        number, offset, size = self._places[index].tolist()
        try:
            with self._paths[number].open("rb") as file:
                file.seek(offset)
                encoded: bytes = file.read(size)
                return encoded
        except OSError as error:
            raise UserError(f"{self._paths[number]} cannot be read: {error.strerror or error}") from error

    def where(self, index: int) -> str:
        number, offset, _ = self._places[index].tolist()
        return f"image {index} ({self._paths[number]}, byte {offset})"


def _indexed(paths: Sequence[Path], label_key: str | None) -> _Index:
    """Return where the images of tar files are, in their order."""
    index = _Index()
    for number, path in enumerate(paths):
        for key, parts in _samples(path):
            image = next((parts[suffix] for suffix in IMAGE_SUFFIXES if suffix in parts), None)
            if image is None:
                index.without_image += 1
                continue
            member, _ = image
            index.files.append(number)
            index.names.append(member.name)
            index.offsets.append(member.offset_data)
            index.sizes.append(member.size)
            index.labels.append(_label({suffix: text for suffix, (_, text) in parts.items()}, label_key, key, path))
    return index


_Parts = dict[str, tuple[tarfile.TarInfo, bytes]]
"""The members of a sample by their suffix, with the bytes of those that may hold a label."""


def _samples(path: Path) -> Iterator[tuple[str, _Parts]]:
    """Yield the name of each sample of a tar file, and its members."""
    key, parts = "", _Parts()
    for member, content in _members(path):
        folder, slash, file = member.name.rpartition("/")
        stem, _, suffix = file.partition(".")
        name = f"{folder}{slash}{stem}"
        if name != key and parts:
            yield key, parts
            parts = {}
        key = name
        suffix = suffix.lower().rpartition(".")[2]
        if suffix in parts:
            raise UserError(f"{path} has two files {suffix} of {name}")
        parts[suffix] = (member, content)
    if parts:
        yield key, parts


def _members(path: Path) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Yield the regular files of a tar file whose names do not begin with a dot, with the bytes of labels."""
    try:
        with path.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:") as tar:
            while (member := tar.next()) is not None:
                hidden = "/." in f"/{member.name.removeprefix('./')}"
                if member.issparse() or member.size < 0:
                    raise tarfile.ReadError(f"{member.name} is a sparse file")
                if member.isreg() and not hidden:
                    holds_label = member.name.lower().endswith((".cls", ".json")) and member.size <= MAX_LABEL
                    yield member, _content(raw, member) if holds_label else b""
                tar.members = []  # type: ignore[attr-defined]  # tarfile keeps them all otherwise
            raw.seek(tar.offset)
            if raw.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile takes a damaged header for the end
                raise tarfile.ReadError(f"its header at byte {tar.offset} is damaged")
    except (OSError, tarfile.TarError, ValueError) as error:
        right = "it must be a whole tar file without compression"
        raise UserError(f"{path} cannot be read: {one_line(error)}; {right}") from error


def _content(raw: BinaryIO, member: tarfile.TarInfo) -> bytes:
    """Read a member; tarfile finds its place in the file again by itself."""
    raw.seek(member.offset_data)
    return raw.read(member.size)


def _label(texts: dict[str, bytes], label_key: str | None, key: str, path: Path) -> int | str:
    """Return the label of a sample."""
    try:
        if "cls" in texts and label_key is None and texts["cls"].strip():
            return _number_or_text(texts["cls"].decode().strip())
        content = json.loads(texts["json"])
        value = next(content[name] for name in ([label_key] if label_key else ["label", "cls"]) if name in content)
    except (KeyError, ValueError, TypeError, StopIteration, RecursionError) as error:
        right = (
            f"{key}.json with the key {label_key!r}" if label_key else f"{key}.cls, or {key}.json with a key 'label'"
        )
        raise UserError(f"{path}: {key} has no label; it must be in {right}") from error
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise UserError(f"{path}: the label of {key} must be an integer or a text, got {shown(value)}")
    return value


def _number_or_text(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdecimal() and text.isascii() and len(text) < 20 else text
