"""Images to look at: a perturbation in colours, and an image in a terminal."""

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

# Okabe and Ito's blue for a decrease and vermilion for an increase, through a light grey.
_DECREASE, _ZERO, _INCREASE = (np.array(colour) / 255 for colour in ((0, 114, 178), (244, 244, 244), (213, 94, 0)))
_SHADES = " .:-=+*#%@"
_MIN_WIDTH = 24
"""Characters; a smaller image is enlarged to this width."""


def signed(perturbation: Floats, scale: float) -> Floats:
    """Return a perturbation (C, H, W) as an image (3, H, W); ±`scale` has the fullest colour.

    A colour image keeps its channels, each around 0.5. In a grey image, a decrease is blue, zero is light grey, and an
    increase is vermilion.
    """
    share = np.clip(perturbation / scale, -1, 1) if scale > 0 else np.zeros_like(perturbation)
    if len(share) == 3:
        channels: Floats = (0.5 + share / 2).astype(np.float32)
        return channels
    share = share.mean(axis=0)[:, :, None]
    colours = _ZERO + np.where(share < 0, -share * (_DECREASE - _ZERO), share * (_INCREASE - _ZERO))
    image: Floats = np.moveaxis(colours, -1, 0).astype(np.float32)
    return image


def in_terminal(pixels: Floats, width: int, *, colour: bool) -> Text:
    """Render an image (C, H, W) in [0, 1] as text of at most `width` columns; a character shows two stacked pixels.

    Without colour, the character shows the mean brightness of the two.
    """
    values = _resize(pixels, width)
    render_line = _colour_line if colour else _shade_line
    lines = [render_line(upper, lower) for upper, lower in zip(values[::2], values[1::2], strict=True)]
    return Text("\n", no_wrap=True, overflow="crop").join(lines)


def _resize(pixels: Floats, width: int) -> _Bytes:
    """Return the image as bytes (H, W, 3) with an even H, enlarged by a whole factor or shrunk to fit `width`."""
    values = (np.clip(np.moveaxis(pixels, 0, -1), 0, 1) * 255).round().astype(np.uint8)
    image = Image.fromarray(values if len(pixels) == 3 else values.mean(axis=-1).astype(np.uint8)).convert("RGB")
    max_width = max(1, width)
    if image.width > max_width:
        size, resampling = (max_width, image.height * max_width / image.width), Image.Resampling.BOX
    else:
        factor = max(1, min(max_width, _MIN_WIDTH) // image.width)
        size, resampling = (factor * image.width, factor * image.height), Image.Resampling.NEAREST
    return np.asarray(image.resize((int(size[0]), 2 * max(1, round(size[1] / 2))), resampling))


def _colour_line(upper: _Bytes, lower: _Bytes) -> Text:
    """Return a line of half blocks for two rows (W, 3) of pixels."""
    pairs: Iterator[tuple[list[int], list[int]]] = zip(upper.tolist(), lower.tolist(), strict=True)
    colours = ((Color.from_rgb(*top), Color.from_rgb(*bottom)) for top, bottom in pairs)
    return Text.assemble(*(("▀", Style(color=top, bgcolor=bottom)) for top, bottom in colours))


def _shade_line(upper: _Bytes, lower: _Bytes) -> Text:
    """Return a line of characters by brightness for two rows (W, 3) of pixels."""
    brightness = np.stack([upper, lower]).mean(axis=(0, 2)) / 255
    return Text("".join(_SHADES[round(float(share) * (len(_SHADES) - 1))] for share in brightness))
