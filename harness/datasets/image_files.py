"""Decode image files to tensors.

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
"""PIL's grey modes of up to 8 bits."""


def common_mode(images: Sequence[Path | io.BytesIO]) -> str:
    """Return PIL's mode for all images: "L" (grey) if every image of a sample is grey, else "RGB"."""
    size = min(64, len(images))
    modes = set()
    for index in range(size):
        source = images[index * len(images) // size]
        # `decode` reports an image that PIL cannot read.
        with contextlib.suppress(OSError), Image.open(source) as image:
            modes.add(image.mode)
    return "L" if modes and modes <= GREY_MODES else "RGB"


def decode(source: Path | io.BytesIO, mode: str, size: int | None, where: str) -> Tensor:
    """Decode an image to uint8 (C, H, W); with `size`, resize its shorter side and keep the centre square."""
    from torchvision.transforms import functional as transforms  # importing takes a second, and 90 MB in every worker

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
    tensor: Tensor = transforms.pil_to_tensor(pixels)
    return tensor


def _stack(images: list[Tensor], where: Callable[[int], str]) -> Tensor:
    """Stack images of one shape; `where` names an image for the error."""
    for index, image in enumerate(images):
        if image.shape != images[0].shape:
            shapes = f"{tuple(image.shape)}, unlike {tuple(images[0].shape)} of {where(0)}"
            raise UserError(f"{where(index)} has the shape {shapes}; all images of a data set must be of one size")
    return torch.stack(images)


def read_files(files: list[Path], mode: str, size: int | None, indices: Sequence[int]) -> Tensor:
    """Decode the files at `indices` to uint8 (N, C, H, W)."""
    paths = [files[index] for index in indices]
    return _stack([decode(path, mode, size, str(path)) for path in paths], lambda index: str(paths[index]))


class DecodedOnce:
    """Encoded images; the first access decodes all of them."""

    def __init__(self, encoded: list[bytes], mode: str, where: str) -> None:
        self._encoded, self._mode, self._where = encoded, mode, where
        self._images: NDArray[Any] | None = None

    def __call__(self, indices: Sequence[int]) -> Tensor:
        return torch.from_numpy(self._decoded()[list(indices)])

    def __getstate__(self) -> dict[str, Any]:
        """Decode the images before they are pickled, so that the processes of one machine share them."""
        self._decoded()
        return self.__dict__

    def _decoded(self) -> NDArray[Any]:
        """Return all images, uint8 (N, C, H, W)."""
        if self._images is None:
            images = [
                decode(io.BytesIO(image), self._mode, None, self._image_name(index))
                for index, image in enumerate(self._encoded)
            ]
            self._images, self._encoded = _stack(images, self._image_name).numpy(), []
        return self._images

    def _image_name(self, index: int) -> str:
        return f"image {index} of {self._where}"
