"""Galleries of adversarial images, as in the paper's figures 6 and 7: originals, and what became of them.

A cell of the sweep is one figure. With all classes as targets, and at most ten of them, it is the paper's grid: a row
for an image of each class, a column for each target class, the originals on the diagonal. Otherwise it has a row for
each image: the original, and then its targets.
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

from eadbench.harness.analysis.aggregate import attack_name, dataset_name, rule_name
from eadbench.harness.labels import defense_text, parameter_text
from eadbench.harness.parquet.adversarial import Images, read_images
from eadbench.harness.parquet.rows import keys_of
from eadbench.harness.reporting.figures import slug
from eadbench.harness.reporting.figures.plotting import STYLE, fitted

__all__ = ["choose", "galleries", "gallery"]

Example = tuple[int, int | None]
"""Image and target class; None where the attack was untargeted."""

_MOST = 10
"""Images, and targets of each, that a figure shows."""

# Inches; a figure's axes are measured in them.
_SIDE, _GAP, _MARGIN = 0.64, 0.05, 0.1
_LINE, _HEADING, _ROW_NAMES = 0.14, 0.16, 0.85
_LEAST_WIDTH = 4.6

_SHARP = 96
"""Pixels on a side up to which an image is drawn pixel by pixel."""
_ORIGINAL = "#0072B2"
_SMALL = 6.5
_LONGEST_NAME = 11


def galleries(
    rows: pd.DataFrame,
    parts: Sequence[Path],
    originals: Callable[[Sequence[int]], Images],
    class_names: Sequence[str],
) -> Iterator[tuple[str, Figure]]:
    """Draw a gallery of every cell that has rows, of the images that :func:`choose` takes.

    Parameters
    ----------
    rows
        Result rows; those of examples tested on other victims are left out.
    parts
        The stored adversarial images of the rows' successes.
    originals
        Given indices, the images of the split: float32 (n, C, H, W).
    class_names
        By class index.

    Yields
    ------
    Figures, each with its name: ``gallery-mnist-cw_mnist-no_defence-ead_l1-beta_1e-3-kappa_0-CELL``, which ends in
    the first 6 digits of the cell.
    """
    own = rows[rows["model"] == rows["evaluated_on"]]
    for cell, of_cell in own.groupby("cell", sort=False):
        chosen = choose(of_cell)
        shown = of_cell[of_cell["image"].isin(chosen)]
        keys, pixels = read_images(parts, cells=[str(cell)], images=chosen)
        stored = dict(zip(_examples(keys), pixels, strict=True))
        words = _words(of_cell.iloc[0])
        name = "-".join(["gallery", *map(slug, words), str(cell)[:6]])
        yield (
            name,
            gallery(
                dict(zip(chosen, originals(chosen), strict=True)),
                dict(zip(shown["image"].tolist(), shown["label"].tolist(), strict=True)),
                {example: stored.get(example) for example in _examples(shown)},
                class_names,
                ", ".join(words),
            ),
        )


def choose(rows: pd.DataFrame) -> list[int]:
    """The images of a cell's rows to show: of each class the first of those with the most successes.

    Of more than ten classes, the ten with the most successes. They come in the order of their classes.
    """
    images = rows.groupby(["label", "image"])["success"].sum().reset_index()
    ranked = images.sort_values(["success", "label", "image"], ascending=[False, True, True])
    best = ranked.drop_duplicates("label").head(_MOST).sort_values("label")
    return [int(image) for image in best["image"]]


def gallery(
    originals: Mapping[int, Images],
    labels: Mapping[int, int],
    adversarial: Mapping[Example, Images | None],
    class_names: Sequence[str],
    title: str,
) -> Figure:
    """Draw images and what an attack made of them.

    Parameters
    ----------
    originals
        (C, H, W) in [0, 1] by image, in the order of the rows.
    labels
        The class of each.
    adversarial
        (C, H, W) in [0, 1] by image and target class, None where the attack failed, which is drawn as a cross.
    class_names
        By class index.
    """
    names = [name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…" for name in class_names]
    others = {image: set(range(len(names))) - {labels[image]} for image in originals}
    every = all({target for of, target in adversarial if of == image} == others[image] for image in originals)
    draw = _by_class if every and len(names) <= _MOST else _by_image
    with mpl.rc_context(STYLE):
        return draw(originals, labels, adversarial, names, title)


def _by_class(
    originals: Mapping[int, Images],
    labels: Mapping[int, int],
    adversarial: Mapping[Example, Images | None],
    names: Sequence[str],
    title: str,
) -> Figure:
    """A column for each target class, the originals on the diagonal."""
    left, step = _MARGIN + _ROW_NAMES, _SIDE + _GAP
    right = left + len(names) * step - _GAP
    figure, axes, above = _canvas(right + _MARGIN, 2 * _HEADING + len(originals) * step, title)
    top = above + 2 * _HEADING
    bottom = top + len(originals) * step - _GAP
    axes.text((left + right) / 2, top - 1.5 * _HEADING, "target class", ha="center", va="center")
    axes.text(_MARGIN, (top + bottom) / 2, "original class", rotation=90, ha="left", va="center")
    for column, name in enumerate(names):
        _heading(axes, name, left + column * step, top)
    for row, (image, pixels) in enumerate(originals.items()):
        y = top + row * step
        axes.text(left - _GAP, y + _SIDE / 2, names[labels[image]], ha="right", va="center", size=_SMALL)
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
    """A row for each image: the original under its class, and then its targets, each under the target class."""
    targets: dict[int, list[int | None]] = {image: [] for image in originals}
    for image, target in sorted(adversarial, key=lambda example: (example[0], example[1] or 0)):
        targets[image] = [*targets[image], target][:_MOST]
    pitch, step = _HEADING + _SIDE + _GAP, _SIDE + _GAP
    columns = 1 + max(map(len, targets.values()), default=0)
    figure, axes, top = _canvas(columns * step + 2 * _GAP + 2 * _MARGIN, len(originals) * pitch, title)
    for row, (image, pixels) in enumerate(originals.items()):
        y = top + row * pitch + _HEADING
        _heading(axes, names[labels[image]], _MARGIN, y)
        _tile(axes, pixels, _MARGIN, y, original=True)
        for column, target in enumerate(targets[image], start=1):
            x = _MARGIN + 2 * _GAP + column * step
            _heading(axes, "untargeted" if target is None else f"→ {names[target]}", x, y)
            _tile(axes, adversarial[image, target], x, y)
    return figure


def _canvas(width: float, height: float, title: str) -> tuple[Figure, Axes, float]:
    """A figure, its axes, measured in inches from its upper left corner, and how far down `height` inches are free."""
    width = max(width, _LEAST_WIDTH)
    title = fitted(title, width - 2 * _MARGIN)
    above = _MARGIN + _LINE * len(title.splitlines()) + _HEADING
    figure = Figure(figsize=(width, above + height + _MARGIN))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(above + height + _MARGIN, 0))
    axes.set_axis_off()
    axes.text(_MARGIN, _MARGIN, title, ha="left", va="top", size=STYLE["figure.titlesize"])
    return figure, axes, above


def _heading(axes: Axes, text: str, x: float, y: float) -> None:
    axes.text(x + _SIDE / 2, y - _HEADING / 2, text, ha="center", va="center", size=_SMALL)


def _tile(axes: Axes, pixels: Images | None, x: float, y: float, *, original: bool = False) -> None:
    """An image (C, H, W) with its upper left corner at (x, y), framed if it is the original; a cross for none."""
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
        interpolation="none" if max(pixels.shape[1:]) <= _SHARP else "antialiased",
        **colour,
    )
    if original:
        frame = Rectangle((left, top), width, height, fill=False, edgecolor=_ORIGINAL, linewidth=1.6, zorder=2)
        axes.add_patch(frame)


def _examples(rows: pd.DataFrame) -> list[Example]:
    """The image and target of each row."""
    return [(image, target) for _, image, target in keys_of(rows)]


def _words(row: "pd.Series[Any]") -> list[str]:
    """What the rows of a cell have in common: data set, victim, attack and its parameters."""
    attack, rule = attack_name(row["attack"], row["norm"]), rule_name(row["attack"], row["decision_rule"])
    words = [dataset_name(row["dataset"]), row["arch"], defense_text(row["defense"], row["temperature"])]
    words.append(f"{attack} ({rule})" if rule else attack)
    for symbol, value in (("β", row["beta"]), ("κ", row["kappa"])):
        if not pd.isna(value):
            words.append(f"{symbol} = {parameter_text(value)}")
    return words
