"""Images as HTML: PNG files inside the page, each with a text for screen readers."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from markupsafe import Markup
from PIL import Image

from eadbench.dashboards.rendering import render
from eadbench.harness.reporting.pixels import Floats

__all__ = ["Example", "Figure", "Picture", "gallery_html", "picture", "pictures_html"]

Example = tuple[int, int | None]
"""Image and target class; None where the attack was untargeted."""

_SHARP = 96
"""Pixels on a side up to which an image is drawn pixel by pixel."""
_MOST_CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image with its text for screen readers."""

    alt: str
    png: str | None = None
    """The PNG file in base 64; None where there is no image."""
    pixelated: bool = False
    """Whether the browser enlarges it pixel by pixel."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Pictures side by side, with a caption: a heading in bold, then lines of text."""

    pictures: Sequence[Picture]
    heading: str = ""
    lines: Sequence[str] = ()
    address: str | None = None
    """The page that the pictures lead to."""


@dataclass(frozen=True, kw_only=True)
class _Cell:
    """One picture of a gallery."""

    picture: Picture
    original: bool = False
    address: str | None = None
    caption: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One image's row of a gallery."""

    class_name: str
    cells: Sequence[_Cell]


def picture(pixels: Floats, alt: str, *, limit: int = 512) -> Picture:
    """Return an image (C, H, W) in [0, 1] as a picture of at most `limit` pixels on a side."""
    return Picture(alt=alt, png=_png(pixels, limit), pixelated=max(pixels.shape[1:]) <= _SHARP)


def pictures_html(figures: Sequence[Figure], size: Literal["large", "small"]) -> Markup:
    """Return figures in a row that wraps."""
    return render("pictures.html.j2", figures=figures, size=size)


def gallery_html(
    originals: Mapping[int, Floats | None],
    labels: Mapping[int, int],
    adversarial: Mapping[Example, Floats | None],
    class_names: Sequence[str],
    address_of: Callable[[int, int | None], str] | None = None,
    *,
    aria_label: str = "Adversarial images",
) -> Markup:
    """Return the gallery of the paper's figures 6 and 7: originals and their adversarial images.

    With every class as a target, and at most ten classes, each target class has a column, and the originals stand on
    the diagonal. Otherwise each row has the original, and then its targets.

    Parameters
    ----------
    originals
        (C, H, W) in [0, 1] by image, in the order of the rows; None where the data set is not on this machine.
    labels
        The class of every image.
    adversarial
        By image and target class; None where the attack failed.
    class_names
        By class index.
    address_of
        Returns the address of an example's page; without it, pictures are not links.
    aria_label
        The gallery's name for screen readers.
    """
    targets = {
        image: sorted((target for other, target in adversarial if other == image), key=lambda target: target or 0)
        for image in originals
    }
    by_class = len(class_names) <= _MOST_CLASSES and all(
        set(targets[image]) == set(range(len(class_names))) - {labels[image]} for image in originals
    )
    rows = []
    for image, pixels in originals.items():
        name = class_names[labels[image]]
        original = _Cell(picture=_thumbnail(pixels, f"original {image}, of class {name}"), original=True)
        cells = [
            _Cell(
                picture=_thumbnail(adversarial[image, target], f"{image}, {_target_text(target, class_names)}"),
                address=None if address_of is None else address_of(image, target),
                caption=None if by_class or target is None else _target_text(target, class_names),
            )
            for target in targets[image]
        ]
        cells.insert(labels[image] if by_class else 0, original)
        rows.append(_Row(class_name=name, cells=cells))
    columns = class_names if by_class else []
    return render("gallery.html.j2", rows=rows, columns=columns, aria_label=aria_label)


def _thumbnail(pixels: Floats | None, alt: str) -> Picture:
    return Picture(alt=f"{alt}: none") if pixels is None else picture(pixels, alt, limit=_SHARP)


def _target_text(target: int | None, class_names: Sequence[str]) -> str:
    return "untargeted" if target is None else f"→ {class_names[target]}"


def _png(pixels: Floats, limit: int) -> str:
    """Return a PNG file in base 64."""
    values = (np.clip(np.moveaxis(pixels, 0, -1), 0, 1) * 255).round().astype(np.uint8)
    image = Image.fromarray(values if len(pixels) == 3 else values.mean(axis=-1).astype(np.uint8))
    if max(image.size) > limit:
        image.thumbnail((limit, limit))
    content = io.BytesIO()
    image.save(content, format="png", optimize=True)
    return base64.b64encode(content.getvalue()).decode()
