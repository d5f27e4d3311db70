"""MNIST and its kin as torchvision keeps them, in IDX files that may be gzipped still.

torchvision reads unpacked files alone, and would download those that are there with `.gz` once more. A folder of data
sets that others share is often read-only, so nothing is unpacked into it.
"""

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["with_gzipped"]


def with_gzipped(kind: type[Any]) -> type[Any]:
    """Return a class of torchvision that reads gzipped files too, if its images are in IDX files; others as they are.

    torchvision names the folder of a data set after its class, so the class keeps its name.
    """
    from torchvision.datasets import MNIST

    if not issubclass(kind, MNIST):
        return kind

    def exists(self: Any) -> bool:
        return bool(kind._check_exists(self)) or all(_file(path) is not None for path in _files(self))

    def load(self: Any) -> tuple[Tensor, Tensor]:
        images, labels = (read_idx(_file(path) or path) for path in _files(self))
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
            shapes = f"{tuple(images.shape)} and {tuple(labels.shape)}"
            raise ValueError(f"images must be (N, H, W) and labels (N,), got {shapes} in {self.raw_folder}")
        return images, labels.long()

    return type(kind.__name__, (kind,), {"_check_exists": exists, "_load_data": load})


def _files(split: Any) -> list[Path]:
    """Return the files of a split's images and labels, unpacked."""
    start = getattr(split, "_file_prefix", "train" if split.train else "t10k")  # EMNIST has a prefix
    return [Path(split.raw_folder, f"{start}-{rest}") for rest in ("images-idx3-ubyte", "labels-idx1-ubyte")]


def _file(path: Path) -> Path | None:
    """Return a file, or else the gzipped one beside it; None if neither is there."""
    return next((file for file in (path, path.with_name(f"{path.name}.gz")) if file.is_file()), None)


def read_idx(path: Path) -> Tensor:
    """Read an IDX file of bytes, gzipped if its name ends in `.gz`.

    Raises
    ------
    ValueError
        The file is damaged.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        _, kind, axes = struct.unpack_from(">HBB", content)
        shape = struct.unpack_from(f">{axes}i", content, 4)
        if kind != 8:
            raise ValueError(f"its type is {kind}, not 8 for bytes")
        values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * axes).reshape(shape)
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise ValueError(f"{path} is no readable IDX file: {error}") from error
    return torch.from_numpy(values.copy())
