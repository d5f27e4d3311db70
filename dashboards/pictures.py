"""Images as HTML: pixels as PNG within the page, each with a text for those who do not see it."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from html import escape

import numpy as np
from PIL import Image

from eadbench.harness.reporting.pixels import Floats

__all__ = ["gallery", "picture", "strip"]

Example = tuple[int, int | None]
"""Image and target class; None where the attack was untargeted."""

_SHARP = 96
"""Pixels on a side up to which an image is drawn pixel by pixel."""
_MOST_CLASSES = 10


def picture(pixels: Floats, said: str, *, most: int = 512) -> str:
    """An image (C, H, W) in [0, 1] as an <img>, of at most so many pixels on a side."""
    sharp = ' class="pixels"' if max(pixels.shape[1:]) <= _SHARP else ""
    return f'<img{sharp} src="data:image/png;base64,{_png(pixels, most)}" alt="{escape(said)}" title="{escape(said)}">'


def strip(figures: Sequence[tuple[Sequence[str], str]], size: str) -> str:
    """Figures in a row that wraps, each some pictures and a caption of HTML, ``large`` or ``small``."""
    each = (f"<figure>{' '.join(parts)}<figcaption>{caption}</figcaption></figure>" for parts, caption in figures)
    return f'<div class="pictures {size}">{"".join(each)}</div>'


def gallery(
    originals: Mapping[int, Floats | None],
    labels: Mapping[int, int],
    adversarial: Mapping[Example, Floats | None],
    class_names: Sequence[str],
    link: Callable[[int, int | None], str] | None = None,
    *,
    said: str = "Adversarial images",
) -> str:
    """The paper's figures 6 and 7: originals, and what became of them.

    With every class as a target, and at most ten of them, a column for each target class, the originals on the
    diagonal; else a row for each image: the original, and then its targets.

    Parameters
    ----------
    originals
        (C, H, W) in [0, 1] by image, in the order of the rows; None where the data set is not at hand.
    adversarial
        By image and target class, None where the attack failed.
    link
        The address of an example, where there is one.
    said
        What the gallery is called.
    """
    targets: dict[int, list[int | None]] = {
        image: sorted((target for of, target in adversarial if of == image), key=lambda target: target or 0)
        for image in originals
    }
    others = {image: set(range(len(class_names))) - {labels[image]} for image in originals}
    by_class = len(class_names) <= _MOST_CLASSES and all(set(targets[i]) == others[i] for i in originals)
    rows = []
    for image, pixels in originals.items():
        name = class_names[labels[image]]
        first = f'<td class="original">{_tile(pixels, f"original {image}, of class {name}")}</td>'
        cells = {
            target: _linked(adversarial[image, target], image, target, class_names, link) for target in targets[image]
        }
        if by_class:
            tiles = [first if c == labels[image] else f"<td>{cells[c]}</td>" for c in range(len(class_names))]
        else:
            tiles = [first, *(f"<td>{cells[target]}{_under(target, class_names)}</td>" for target in targets[image])]
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(tiles)}</tr>')
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in class_names) if by_class else ""
    caption = "<caption>Rows: the original class. Columns: the target class.</caption>" if by_class else ""
    head = f"<thead><tr><td></td>{heads}</tr></thead>" if by_class else ""
    body = f"<tbody>{''.join(rows)}</tbody>"
    box = f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(said)}">'
    return f'{box}<table class="gallery">{caption}{head}{body}</table></div>'


def _linked(
    pixels: Floats | None,
    image: int,
    target: int | None,
    class_names: Sequence[str],
    link: Callable[[int, int | None], str] | None,
) -> str:
    tile = _tile(pixels, f"{image}, {_to(target, class_names)}")
    return tile if link is None else f'<a href="{escape(link(image, target))}">{tile}</a>'


def _tile(pixels: Floats | None, said: str) -> str:
    if pixels is None:
        return f'<span class="none" role="img" aria-label="{escape(said)}: none" title="{escape(said)}: none">×</span>'
    return picture(pixels, said, most=_SHARP)


def _under(target: int | None, class_names: Sequence[str]) -> str:
    return "" if target is None else f"<br>{escape(_to(target, class_names))}"


def _to(target: int | None, class_names: Sequence[str]) -> str:
    return "untargeted" if target is None else f"→ {class_names[target]}"


def _png(pixels: Floats, most: int) -> str:
    """A PNG file in base 64."""
    values = (np.clip(np.moveaxis(pixels, 0, -1), 0, 1) * 255).round().astype(np.uint8)
    drawn = Image.fromarray(values if len(pixels) == 3 else values.mean(axis=-1).astype(np.uint8))
    if max(drawn.size) > most:
        drawn.thumbnail((most, most))
    content = io.BytesIO()
    drawn.save(content, format="png", optimize=True)
    return base64.b64encode(content.getvalue()).decode()
