"""Decode encoded images to tensors.

Pillow opens the formats of :data:`FORMATS` alone: it would hand others to programs such as Ghostscript. An orientation
in an image's EXIF data is ignored: the pixels stay as they are stored, as in torchvision.

Shape letters: N images, C channels, H rows, W columns.
"""

import contextlib
import io
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from eadbench.harness.datasets.transform import MAX_PIXELS, Transform
from eadbench.harness.errors import UserError
from eadbench.harness.messages import one_line

__all__ = ["FORMATS", "DecodedOnce", "Decoder", "Encoded", "FileImages", "Source", "common_mode", "decode"]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM")
"""What Pillow opens."""

GREY_MODES = {"1", "L", "LA"}
"""Pillow's grey modes of up to 8 bits."""

MAX_BYTES = 2**30
"""The most bytes that :func:`decoder_for` keeps in memory for a split."""

Source = Path | bytes | Image.Image
"""An encoded image: a file, its bytes, or an image that is open."""


class Encoded(Protocol):
    """Encoded images, by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Source:
        """Return an image."""
        ...

    def where(self, index: int, /) -> str:
        """Return what messages call an image."""
        ...


class FileImages:
    """Image files in a folder.

    Their names are an array of bytes, because the processes of a machine can share it.
    """

    def __init__(self, root: Path, names: Iterable[str]) -> None:
        self._root = root
        self._names = np.array([os.fsencode(name) for name in names], dtype=bytes)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Path:
        return self._root / os.fsdecode(bytes(self._names[index]))

    def where(self, index: int) -> str:
        return str(self[index])

    @property
    def names(self) -> list[str]:
        """The names of the files, relative to the folder."""
        return [os.fsdecode(name) for name in self._names.tolist()]


class Decoder:
    """Decode images at every access; the `read` function of a split.

    Parameters
    ----------
    images
        The encoded images.
    mode
        Pillow's mode of all of them, "L" or "RGB".
    transform
        What each goes through.
    """

    def __init__(self, images: Encoded, mode: str, transform: Transform) -> None:
        self._images, self._mode, self._transform = images, mode, transform

    @property
    def names(self) -> list[str] | None:
        """The names of the images' files, if they are files."""
        return self._images.names if isinstance(self._images, FileImages) else None

    def __call__(self, indices: Sequence[int]) -> Tensor:
        """Return images, uint8 (n, C, H, W)."""
        return torch.from_numpy(self.stacked(indices))

    def one(self, index: int) -> Tensor:
        """Return one image, uint8 (C, H, W)."""
        return decode(self._images[index], self._mode, self._transform, self._images.where(index))

    def stacked(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Decode images of one shape into an array (n, C, H, W)."""
        if not len(indices):
            return np.empty((0, 0, 0, 0), dtype=np.uint8)
        first = self.one(indices[0])
        images = np.empty((len(indices), *first.shape), dtype=np.uint8)
        for position, index in enumerate(indices):
            image = first if position == 0 else self.one(index)
            if image.shape != first.shape:
                shapes = f"{tuple(image.shape)}, unlike {tuple(first.shape)} of {self._images.where(indices[0])}"
                right = "all images of a data set must be of one size; give a size to resize them to"
                raise UserError(f"{self._images.where(index)} has the shape {shapes}; {right}")
            images[position] = image
        return images


class DecodedOnce(Decoder):
    """Decode all images at the first access, and keep them as bytes."""

    _decoded: NDArray[Any] | None = None

    def __call__(self, indices: Sequence[int]) -> Tensor:
        return torch.from_numpy(self._all()[list(indices)])

    def __getstate__(self) -> dict[str, Any]:
        """Decode the images before they are pickled, so that the processes of one machine share them."""
        self._all()
        return self.__dict__

    def _all(self) -> NDArray[Any]:
        """Return all images, uint8 (N, C, H, W)."""
        if self._decoded is None:
            self._decoded = self.stacked(range(len(self._images)))
            del self._images
        return self._decoded


def decoder_for(images: Encoded, mode: str, transform: Transform) -> Decoder:
    """Return a decoder that keeps the images if they fit into :data:`MAX_BYTES` as bytes."""
    on_access = Decoder(images, mode, transform)
    fits = not len(images) or len(images) * on_access.one(0).numel() <= MAX_BYTES
    return DecodedOnce(images, mode, transform) if fits else on_access


def common_mode(images: Encoded) -> str:
    """Return Pillow's mode for all images: "L" (grey) if every image of a sample is grey, else "RGB"."""
    size = min(64, len(images))
    modes = set()
    for index in range(size):
        # `decode` reports an image that Pillow cannot read.
        with contextlib.suppress(Exception), _opened(images[index * len(images) // size], "") as image:
            modes.add(image.mode)
    return "L" if modes and modes <= GREY_MODES else "RGB"


def decode(source: Source, mode: str, transform: Transform, where: str) -> Tensor:
    """Decode an image to uint8 (C, H, W).

    Raises
    ------
    UserError
        The image is damaged, too large, of another format, or has more than 8 bits a channel.
    """
    try:
        with _opened(source, where) as image:
            if image.mode.startswith(("I", "F")):
                raise UserError(f"{where} has more than 8 bits a channel (PIL mode {image.mode}); convert it first")
            if mode == "L" and image.mode not in GREY_MODES:
                raise UserError(f"{where} is in colour, while others of its data set are grey; convert one kind")
            pixels = np.array(transform(image.convert(mode), where))
    except UserError:
        raise
    except Exception as error:  # damaged bytes make Pillow raise anything
        raise UserError(f"{where} is not a readable image: {_reason(error)}") from error
    channels_last = torch.from_numpy(pixels[:, :, None] if mode == "L" else pixels)
    return channels_last.permute(2, 0, 1).contiguous()


@contextlib.contextmanager
def _opened(source: Source, where: str) -> Iterator[Image.Image]:
    """Open an image of a known format and a bearable size; its pixels are not decoded yet."""
    if isinstance(source, Image.Image):
        yield source
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of large images, and of odd metadata
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UserError(f"{where} has {image.width}x{image.height} pixels; {_LIMIT}")
            yield image


_LIMIT = f"at most {MAX_PIXELS:,} are read, so that no image fills the memory"


def _reason(error: Exception) -> str:
    """Return why Pillow cannot read an image, in one line."""
    if isinstance(error, UnidentifiedImageError):
        return "it is no PNG, JPEG, WebP, BMP, TIFF or PPM file"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has too many pixels; {_LIMIT}"
    return one_line(error) or type(error).__name__
