"""One example large, the predictions of its victims, and the same example under other attacks."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
import torch

from eadbench.attacks.criterion import margin
from eadbench.dashboards.logits import logits
from eadbench.dashboards.pictures import Example, Figure, Picture, picture, pictures_html
from eadbench.dashboards.rendering import as_text, render
from eadbench.dashboards.sources import Source
from eadbench.harness.analysis.aggregate import METRICS
from eadbench.harness.analysis.summary import Summary
from eadbench.harness.datasets import DataSet
from eadbench.harness.labels import FIGURES
from eadbench.harness.numbers import figure_text
from eadbench.harness.reporting.pixels import Floats, signed

__all__ = ["class_names", "originals", "show"]

_COLUMNS = (
    *("cell", "shard", "image", "label", "target", "success"),
    *("l0", "l1", "l2", "linf", "margin", "const", "epsilon", "iterations"),
)
_SAME_EXAMPLE = (
    "image = $image AND target IS NOT DISTINCT FROM $target AND model = $model AND evaluated_on = $model "
    "AND cell IN (SELECT unnest($cells))"
)
_DISTANCES = {"l0": "L0", **{metric: FIGURES[metric] for metric in METRICS}}
_FACTS = {**_DISTANCES, "margin": "margin", "const": "c", "epsilon": "ε"}
_OTHERS_LIMIT = 60
"""Other attacks that are shown."""

Row = dict[Hashable, Any]
"""A row of results."""


@dataclass(frozen=True, kw_only=True)
class _Prediction:
    """The class that a victim gives an image, and the margin."""

    class_name: str
    margin: str


@dataclass(frozen=True, kw_only=True)
class _Predictions:
    """One victim's predictions for the original and the adversarial image."""

    victim: str
    predictions: Sequence[_Prediction]


def show(
    source: Source, summary: Summary, lines: pd.DataFrame, line: pd.DataFrame, example: Example, data: DataSet | str
) -> None:
    """Show an example in one cell, and the same example in the other cells of its victim.

    Parameters
    ----------
    lines
        The lines of the victim, with their columns `setting` (a label) and `address` (of the example in that cell).
    line
        The line of the cell that is shown large.
    example
        Image and target class.
    data
        The data set, or why it is not on this machine.
    """
    image, target = example
    cell, model = str(line["cell"].iloc[0]), str(line["model"].iloc[0])
    parameters = {"image": image, "target": target, "model": model, "cells": lines["cell"].tolist()}
    rows = source.query(_COLUMNS, _SAME_EXAMPLE, **parameters).drop_duplicates("cell")
    images = source.adversarial(rows[rows["success"]])
    adversarial = {key[0]: pixels for key, pixels in images.items() if key[1:] == example}
    original = originals(source, data, [image])[image]
    names = class_names(source, data, rows["label"], [] if target is None else [target])
    by_cell: dict[str, Row] = {str(row["cell"]): row for row in rows.to_dict("records")}
    scale = _scale(original, [adversarial[cell]] if cell in adversarial else adversarial.values())
    st.html(pictures_html(_large(by_cell[cell], original, adversarial.get(cell), scale, names), "large"))
    tested = set(summary.lines.loc[summary.lines["cell"] == cell, "evaluated_on"])
    victims = summary.labels.short_victims(digest for digest in summary.labels.victim if digest in tested)
    _show_predictions(source, victims, original, adversarial.get(cell), by_cell[cell], names)
    others = lines[lines["cell"].isin(by_cell) & (lines["cell"] != cell)]
    if len(others):
        _show_others(others, by_cell, adversarial, original, scale)


def originals(source: Source, data: DataSet | str, images: Sequence[int]) -> dict[int, Floats | None]:
    """Return images (C, H, W) of the split that was attacked; None where the data set is not on this machine."""
    if isinstance(data, str):
        return dict.fromkeys(images)
    pixels = getattr(data, source.summary().spec.images.split).images(images).numpy()
    return dict(zip(images, pixels, strict=True))


def class_names(source: Source, data: DataSet | str, labels: Iterable[int], targets: Iterable[int | None]) -> list[str]:
    """Return the names of classes by index: numbers where neither the data set nor the folder has them."""
    if not isinstance(data, str):
        return list(data.class_names)
    stored = list(source.results.class_names())
    known = {*map(int, labels), *(target for target in targets if target is not None)}
    return stored if len(stored) > max(known) else [str(index) for index in range(1 + max(known))]


def _scale(original: Floats | None, adversarial: Iterable[Floats]) -> float:
    """Return the greatest change of a pixel."""
    return 0.0 if original is None else max((float(np.abs(image - original).max()) for image in adversarial), default=0)


def _large(
    row: Row, original: Floats | None, adversarial: Floats | None, scale: float, names: Sequence[str]
) -> list[Figure]:
    """Return the original, the adversarial image and the perturbation."""
    figures = []
    label = names[int(row["label"])]
    goal = "untargeted" if _missing(row["target"]) else f"target {names[int(row['target'])]}"
    if original is not None:
        original_picture = picture(original, f"original of class {label}")
        caption = [f" {row['image']}, class {label}"]
        figures.append(Figure(pictures=[original_picture], heading="Original", lines=caption))
    if adversarial is None:
        failure = Picture(alt="no adversarial image")
        return [*figures, Figure(pictures=[failure], heading="The attack failed", lines=[f" ({goal})"])]
    facts = _facts_text(row, _FACTS)
    cost = "" if _missing(row["iterations"]) else f"; {row['iterations']:,} gradient evaluations"
    adversarial_picture = picture(adversarial, f"adversarial image, {goal}")
    caption = [f", {goal}", f"{facts}{cost}"]
    figures.append(Figure(pictures=[adversarial_picture], heading="Adversarial", lines=caption))
    if original is not None:
        perturbation = picture(signed(adversarial - original, scale), "perturbation")
        colours = "each channel around grey" if len(original) == 3 else "blue is darker, orange is brighter"
        caption = [f", ±{scale:.3g} at full colour; {colours}"]
        figures.append(Figure(pictures=[perturbation], heading="Perturbation", lines=caption))
    return figures


def _show_others(
    others: pd.DataFrame,
    rows: Mapping[str, Row],
    adversarial: Mapping[str, Floats],
    original: Floats | None,
    scale: float,
) -> None:
    """Show the same example in other cells."""
    st.subheader("Under other attacks")
    figures = [
        _small(rows[line["cell"]], line["setting"], line["address"], adversarial.get(line["cell"]), original, scale)
        for line in others.head(_OTHERS_LIMIT).to_dict("records")
    ]
    st.html(pictures_html(figures, "small"))
    rest = "" if len(others) <= _OTHERS_LIMIT else f" The first {_OTHERS_LIMIT} of {len(others)} attacks."
    same_scale = "" if original is None else f" All perturbations have the same scale, ±{scale:.3g}."
    st.caption(f"The same image and target.{same_scale}{rest}")


def _small(
    row: Row, setting: str, address: str, adversarial: Floats | None, original: Floats | None, scale: float
) -> Figure:
    """Return the same example in another cell, with a link to its page."""
    if adversarial is None:
        pictures, result = [Picture(alt=f"{setting}: no adversarial image")], "failed"
    else:
        pictures, result = [picture(adversarial, f"adversarial image of {setting}")], _facts_text(row, METRICS)
        if original is not None:
            pictures.append(picture(signed(adversarial - original, scale), f"perturbation of {setting}"))
    return Figure(pictures=pictures, lines=[setting, result], address=address)


def _facts_text(row: Row, names: Iterable[str]) -> str:
    """Return numbers of a row: ``L1 2.35, L2 0.514``."""
    return ", ".join(f"{_FACTS[name]} {figure_text(float(row[name]))}" for name in names if not _missing(row[name]))


def _show_predictions(
    source: Source,
    victims: Mapping[str, str],
    original: Floats | None,
    adversarial: Floats | None,
    row: Row,
    names: Sequence[str],
) -> None:
    """Show the class that each victim gives the original and the adversarial image, and the margin."""
    st.subheader("Predictions of the victims")
    images = {"original": original, "adversarial": adversarial}
    shown = {name: pixels for name, pixels in images.items() if pixels is not None}
    if not shown:
        st.info("Neither the original nor an adversarial image is here.")
        return
    targeted = not _missing(row["target"])
    goal = torch.full((len(shown),), int(row["target"] if targeted else row["label"]))
    predictions = []
    for digest, label in victims.items():
        outputs = logits(source.folder, digest, np.stack([*shown.values()]))
        if isinstance(outputs, str):
            st.warning(f"A victim cannot be loaded. {as_text(f'{label}: {outputs}')}")
            continue
        margins = margin(torch.from_numpy(outputs), goal, targeted=targeted).tolist()
        # Without the data set, only the classes of this example have names.
        classes = [names[i] if i < len(names) else str(i) for i in outputs.argmax(axis=1).tolist()]
        pairs = [_Prediction(class_name=name, margin=f"{m:+.2f}") for name, m in zip(classes, margins, strict=True)]
        predictions.append(_Predictions(victim=label, predictions=pairs))
    if predictions:
        st.html(render("predictions.html.j2", heads=[*shown], rows=predictions))
        lead = "the target's logit over the greatest other" if targeted else "any other logit over the label's"
        st.caption(f"The class that a victim gives, and the margin: {lead}; above 0, it is fooled.")


def _missing(value: Any) -> bool:
    return bool(pd.isna(value))
