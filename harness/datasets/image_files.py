"""Image files as tensors.

Shape letters: N images, C channels, H rows, W columns.
"""

import contextlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from eadbench.harness.errors import UserError

GREY_MODES = {"1", "L", "LA"}
"""PIL's, of up to 8 bits."""


def common_mode(images: Sequence[Path | io.BytesIO]) -> str:
    """PIL's mode for all images: "L" (grey) where every one of a sample is grey, or else "RGB"."""
    size = min(64, len(images))
    modes = set()
    for index in range(size):
        source = images[index * len(images) // size]
        # An image that PIL cannot read is reported, by name, when it is decoded.
        with contextlib.suppress(OSError), Image.open(source) as image:
            modes.add(image.mode)
    return "L" if modes and modes <= GREY_MODES else "RGB"


def decode(source: Path | io.BytesIO, mode: str, size: int | None, where: str) -> Tensor:
    """One image file as uint8 (C, H, W)."""
    from torchvision.transforms import functional as transforms  # takes a second, and 90 MB of every worker

    try:
        with Image.open(source) as image:
            if image.mode.startswith(("I", "F")):
                raise UserError(f"{where} has more than 8 bits a channel (PIL mode {image.mode}); convert it first")
            if mode == "L" and image.mode not in GREY_MODES:
                raise UserError(f"{where} is in colour, while others of its data set are grey; convert one kind")
            pixels = image.convert(mode)
    except OSError as error:
        raise UserError(f"{where} is not a readable image: {error}") from error
    if size is not None:
        pixels = transforms.center_crop(transforms.resize(pixels, [size]), [size])
    decoded: Tensor = transforms.pil_to_tensor(pixels)
    return decoded


def _stack(images: list[Tensor], where: Callable[[int], str]) -> Tensor:
    for index, image in enumerate(images):
        if image.shape != images[0].shape:
            shapes = f"{tuple(image.shape)}, unlike {tuple(images[0].shape)} of {where(0)}"
            raise UserError(f"{where(index)} has the shape {shapes}; all images of a data set must be of one size")
    return torch.stack(images)


def read_files(files: list[Path], mode: str, size: int | None, indices: Sequence[int]) -> Tensor:
    """The files at `indices` as uint8 (N, C, H, W)."""
    chosen = [files[index] for index in indices]
    return _stack([decode(file, mode, size, str(file)) for file in chosen], lambda at: str(chosen[at]))


class DecodedOnce:
    """Encoded images, all decoded when the first is asked for."""

    def __init__(self, encoded: list[bytes], mode: str, where: str) -> None:
        self._encoded, self._mode, self._where = encoded, mode, where
        self._images: NDArray[Any] | None = None

    def __call__(self, indices: Sequence[int]) -> Tensor:
        return torch.from_numpy(self._decoded()[list(indices)])

    def __getstate__(self) -> dict[str, Any]:
        """What another process is given is decoded, so that those of one machine can share it."""
        self._decoded()
        return self.__dict__

    def _decoded(self) -> NDArray[Any]:
        if self._images is None:
            decoded = [
                decode(io.BytesIO(image), self._mode, None, self._row(index))
                for index, image in enumerate(self._encoded)
            ]
            self._images, self._encoded = _stack(decoded, self._row).numpy(), []
        return self._images

    def _row(self, index: int) -> str:
        return f"image {index} of {self._where}"
