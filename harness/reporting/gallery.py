"""Galleries of original and adversarial images, as in the paper's figures 6 and 7.

A figure shows one cell of the sweep. If every class is a target, and there are at most ten, it is the paper's grid: a
row per image, one of each class, and a column per target class, with the originals on the diagonal. Otherwise, it has
a row per image: the original, then the adversarial images by target.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from eadbench.harness.labels import Labels, dataset_label, series_of
from eadbench.harness.parquet.adversarial import Images, read_images
from eadbench.harness.parquet.rows import keys_of
from eadbench.harness.reporting.figures import slug
from eadbench.harness.reporting.figures.plotting import STYLE, wrap

__all__ = ["choose", "galleries", "gallery"]

Example = tuple[int, int | None]
"""Image and target class; the target is None if the attack was untargeted."""

_LIMIT = 10
"""Images of a figure, and targets of an image."""

# Inches, the unit of a figure's axes.
_SIDE, _GAP, _MARGIN = 0.64, 0.05, 0.1
_LINE_HEIGHT, _HEADING_HEIGHT, _ROW_NAMES_WIDTH = 0.14, 0.16, 0.85
_MIN_WIDTH = 4.6

_MAX_SHARP_SIDE = 96
"""Pixels; larger images are drawn with interpolation."""
_ORIGINAL_COLOUR = "#0072B2"
_FONT_SIZE = 6.5
_MAX_NAME_LENGTH = 11


def galleries(
    rows: pd.DataFrame,
    parts: Sequence[Path],
    originals: Callable[[Sequence[int]], Images],
    class_names: Sequence[str],
    labels: Labels,
) -> Iterator[tuple[str, Figure]]:
    """Draw a gallery of every cell in the rows, of the images that :func:`choose` selects.

    Parameters
    ----------
    rows
        Result rows; transfers are ignored.
    parts
        The files with the stored adversarial images.
    originals
        Returns the images of the split, float32 (n, C, H, W), for indices.
    class_names
        Names by class index.
    labels
        The labels of the sweep.

    Yields
    ------
    The name and the figure: ``gallery-mnist-cw_mnist_no_defence-ead_l1_beta_1e-3_kappa_0-CELL``, with the first 6
    digits of the cell.
    """
    own = rows[rows["model"] == rows["evaluated_on"]]
    for cell, cell_rows in own.groupby("cell", sort=False):
        images = choose(cell_rows)
        shown = cell_rows[cell_rows["image"].isin(images)]
        keys, pixels = read_images(parts, cells=[str(cell)], images=images)
        stored = dict(zip(_examples(keys), pixels, strict=True))
        line = cell_rows.iloc[0].to_dict() | {"series": series_of(cell_rows.iloc[:1]).iloc[0]}
        title_parts = [dataset_label(line["dataset"]), labels.victim_details[line["model"]], labels.setting(line)]
        name = "-".join(["gallery", *map(slug, title_parts), str(cell)[:6]])
        yield (
            name,
            gallery(
                dict(zip(images, originals(images), strict=True)),
                dict(zip(shown["image"].tolist(), shown["label"].tolist(), strict=True)),
                {example: stored.get(example) for example in _examples(shown)},
                class_names,
                ", ".join(title_parts),
            ),
        )


def choose(rows: pd.DataFrame) -> list[int]:
    """Choose the images to show of a cell's rows: for each class, the first image with the most successes.

    With more than ten classes, choose the ten with the most successes. The images are in the order of their classes.
    """
    images = rows.groupby(["label", "image"])["success"].sum().reset_index()
    ranked = images.sort_values(["success", "label", "image"], ascending=[False, True, True])
    best = ranked.drop_duplicates("label").head(_LIMIT).sort_values("label")
    return [int(image) for image in best["image"]]


def gallery(
    originals: Mapping[int, Images],
    labels: Mapping[int, int],
    adversarial: Mapping[Example, Images | None],
    class_names: Sequence[str],
    title: str,
) -> Figure:
    """Draw the original and adversarial images of a cell.

    Parameters
    ----------
    originals
        Images (C, H, W) in [0, 1] by index, in the order of the figure's rows.
    labels
        The class of each image.
    adversarial
        Images (C, H, W) in [0, 1] by image and target class; None, drawn as a cross, if the attack failed.
    class_names
        Names by class index.
    """
    limit = _MAX_NAME_LENGTH
    names = [name if len(name) <= limit else f"{name[: limit - 1]}…" for name in class_names]
    targets = {image: {target for source, target in adversarial if source == image} for image in originals}
    every_class = all(targets[image] == set(range(len(names))) - {labels[image]} for image in originals)
    draw = _by_class if every_class and len(names) <= _LIMIT else _by_image
    with mpl.rc_context(STYLE):
        return draw(originals, labels, adversarial, names, title)


def _by_class(
    originals: Mapping[int, Images],
    labels: Mapping[int, int],
    adversarial: Mapping[Example, Images | None],
    names: Sequence[str],
    title: str,
) -> Figure:
    """Draw a column per target class, with the originals on the diagonal."""
    left, step = _MARGIN + _ROW_NAMES_WIDTH, _SIDE + _GAP
    right = left + len(names) * step - _GAP
    figure, axes, above = _canvas(right + _MARGIN, 2 * _HEADING_HEIGHT + len(originals) * step, title)
    top = above + 2 * _HEADING_HEIGHT
    bottom = top + len(originals) * step - _GAP
    axes.text((left + right) / 2, top - 1.5 * _HEADING_HEIGHT, "target class", ha="center", va="center")
    axes.text(_MARGIN, (top + bottom) / 2, "original class", rotation=90, ha="left", va="center")
    for column, name in enumerate(names):
        _heading(axes, name, left + column * step, top)
    for row, (image, pixels) in enumerate(originals.items()):
        y = top + row * step
        axes.text(left - _GAP, y + _SIDE / 2, names[labels[image]], ha="right", va="center", size=_FONT_SIZE)
        for column in range(len(names)):
            original = column == labels[image]
            _tile(axes, pixels if original else adversarial[image, column], left + column * step, y, original=original)
    return figure


def _by_image(
    originals: Mapping[int, Images],
    labels: Mapping[int, int],
    adversarial: Mapping[Example, Images | None],
    names: Sequence[str],
    title: str,
) -> Figure:
    """Draw a row per image: the original below its class, then the adversarial images below their target classes."""
    targets: dict[int, list[int | None]] = {image: [] for image in originals}
    for image, target in sorted(adversarial, key=lambda example: (example[0], example[1] or 0)):
        targets[image] = [*targets[image], target][:_LIMIT]
    pitch, step = _HEADING_HEIGHT + _SIDE + _GAP, _SIDE + _GAP
    columns = 1 + max(map(len, targets.values()), default=0)
    figure, axes, top = _canvas(columns * step + 2 * _GAP + 2 * _MARGIN, len(originals) * pitch, title)
    for row, (image, pixels) in enumerate(originals.items()):
        y = top + row * pitch + _HEADING_HEIGHT
        _heading(axes, names[labels[image]], _MARGIN, y)
        _tile(axes, pixels, _MARGIN, y, original=True)
        for column, target in enumerate(targets[image], start=1):
            x = _MARGIN + 2 * _GAP + column * step
            _heading(axes, "untargeted" if target is None else f"→ {names[target]}", x, y)
            _tile(axes, adversarial[image, target], x, y)
    return figure


def _canvas(width: float, height: float, title: str) -> tuple[Figure, Axes, float]:
    """Return a figure with a title, its axes in inches from the upper left corner, and the y of the free area.

    The free area is `height` inches high.
    """
    width = max(width, _MIN_WIDTH)
    title = wrap(title, width - 2 * _MARGIN)
    above = _MARGIN + _LINE_HEIGHT * len(title.splitlines()) + _HEADING_HEIGHT
    figure = Figure(figsize=(width, above + height + _MARGIN))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(above + height + _MARGIN, 0))
    axes.set_axis_off()
    axes.text(_MARGIN, _MARGIN, title, ha="left", va="top", size=STYLE["figure.titlesize"])
    return figure, axes, above


def _heading(axes: Axes, text: str, x: float, y: float) -> None:
    axes.text(x + _SIDE / 2, y - _HEADING_HEIGHT / 2, text, ha="center", va="center", size=_FONT_SIZE)


def _tile(axes: Axes, pixels: Images | None, x: float, y: float, *, original: bool = False) -> None:
    """Draw an image (C, H, W) with its upper left corner at (x, y), framed if it is the original; None is a cross."""
    if pixels is None:
        axes.add_patch(Rectangle((x, y), _SIDE, _SIDE, facecolor="0.95", edgecolor="none"))
        low, high = 0.35 * _SIDE, 0.65 * _SIDE
        for ends in ((low, high), (high, low)):
            axes.plot((x + low, x + high), (y + ends[0], y + ends[1]), color="0.6", linewidth=1)
        return
    height, width = (_SIDE * side / max(pixels.shape[1:]) for side in pixels.shape[1:])
    left, top = x + (_SIDE - width) / 2, y + (_SIDE - height) / 2
    colour: dict[str, Any] = {} if len(pixels) == 3 else {"cmap": "gray", "vmin": 0, "vmax": 1}
    axes.imshow(
        np.clip(np.moveaxis(pixels, 0, -1), 0, 1) if len(pixels) == 3 else pixels.mean(axis=0),
        extent=(left, left + width, top + height, top),
        aspect="auto",
        interpolation="none" if max(pixels.shape[1:]) <= _MAX_SHARP_SIDE else "antialiased",
        **colour,
    )
    if original:
        frame = Rectangle((left, top), width, height, fill=False, edgecolor=_ORIGINAL_COLOUR, linewidth=1.6, zorder=2)
        axes.add_patch(frame)


def _examples(rows: pd.DataFrame) -> list[Example]:
    """Return the image and target of each row."""
    return [(image, target) for _, image, target in keys_of(rows)]
