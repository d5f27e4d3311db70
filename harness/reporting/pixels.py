"""Pixels for the eye: a perturbation in colours, and an image in a terminal."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.color import Color
from rich.style import Style
from rich.text import Text

__all__ = ["Floats", "in_terminal", "signed"]

Floats = NDArray[np.float32]
_Bytes = NDArray[np.uint8]

# Blue for less, vermilion for more: Okabe and Ito's, through a light grey.
_LESS, _SAME, _MORE = (np.array(colour) / 255 for colour in ((0, 114, 178), (244, 244, 244), (213, 94, 0)))
_SHADES = " .:-=+*#%@"
_LEAST = 24
"""Characters to which a smaller image is enlarged."""


def signed(perturbation: Floats, scale: float) -> Floats:
    """A perturbation (C, H, W) as an image (3, H, W): ±scale has the fullest colour, 0 is a light or middle grey.

    Of colour images each channel is shown in itself, around 0.5; of others, less is blue and more is vermilion.
    """
    share = np.clip(perturbation / scale, -1, 1) if scale > 0 else np.zeros_like(perturbation)
    if len(share) == 3:
        around: Floats = (0.5 + share / 2).astype(np.float32)
        return around
    share = share.mean(axis=0)[:, :, None]
    coloured = _SAME + np.where(share < 0, -share * (_LESS - _SAME), share * (_MORE - _SAME))
    channels: Floats = np.moveaxis(coloured, -1, 0).astype(np.float32)
    return channels


def in_terminal(pixels: Floats, width: int, *, colour: bool) -> Text:
    """An image (C, H, W) in [0, 1] as text of at most `width` columns; a character is two pixels, one above the other.

    Without colour, it stands for how bright the two are.
    """
    values = _fitted(pixels, width)
    line = _coloured if colour else _shaded
    lines = [line(above, below) for above, below in zip(values[::2], values[1::2], strict=True)]
    return Text("\n", no_wrap=True, overflow="crop").join(lines)


def _fitted(pixels: Floats, width: int) -> _Bytes:
    """The image as bytes (H, W, 3) with an even H, enlarged by a whole number or made smaller to fit."""
    values = (np.clip(np.moveaxis(pixels, 0, -1), 0, 1) * 255).round().astype(np.uint8)
    image = Image.fromarray(values if len(pixels) == 3 else values.mean(axis=-1).astype(np.uint8)).convert("RGB")
    most = max(1, width)
    if image.width > most:
        size, how = (most, image.height * most / image.width), Image.Resampling.BOX
    else:
        times = max(1, min(most, _LEAST) // image.width)
        size, how = (times * image.width, times * image.height), Image.Resampling.NEAREST
    return np.asarray(image.resize((int(size[0]), 2 * max(1, round(size[1] / 2))), how))


def _coloured(above: _Bytes, below: _Bytes) -> Text:
    pairs: Iterator[tuple[list[int], list[int]]] = zip(above.tolist(), below.tolist(), strict=True)
    blocks = ((Color.from_rgb(*upper), Color.from_rgb(*lower)) for upper, lower in pairs)
    return Text.assemble(*(("▀", Style(color=upper, bgcolor=lower)) for upper, lower in blocks))


def _shaded(above: _Bytes, below: _Bytes) -> Text:
    bright = np.stack([above, below]).mean(axis=(0, 2)) / 255
    return Text("".join(_SHADES[round(float(share) * (len(_SHADES) - 1))] for share in bright))
