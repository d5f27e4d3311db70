"""One example large, what its victims say of it, and the same under other attacks."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
import torch

from eadbench.attacks.criterion import margin
from eadbench.dashboards.pictures import picture, strip
from eadbench.dashboards.sources import Source
from eadbench.dashboards.victims import logits
from eadbench.harness.analysis.aggregate import METRICS
from eadbench.harness.datasets import DataSet
from eadbench.harness.labels import figure_text, told_apart, victim_names
from eadbench.harness.reporting.pixels import Floats, signed
from eadbench.harness.reporting.report import Found

__all__ = ["class_names", "originals", "show"]

_COLUMNS = (
    *("cell", "shard", "image", "label", "target", "success"),
    *("l0", "l1", "l2", "linf", "margin", "const", "epsilon", "iterations"),
)
_SAME = (
    "image = $image AND target IS NOT DISTINCT FROM $target AND model = $model AND evaluated_on = $model "
    "AND cell IN (SELECT unnest($cells))"
)
_FACTS = {"l0": "L0", "l1": "L1", "l2": "L2", "linf": "L∞", "margin": "margin", "const": "c", "epsilon": "ε"}
_NAMED = ["cell", "setting", "address"]
_MOST_OTHERS = 60

Row = dict[Hashable, Any]
"""A row of results."""


def show(
    source: Source,
    found: Found,
    lines: pd.DataFrame,
    line: pd.DataFrame,
    of: tuple[int, int | None],
    data: DataSet | str,
) -> None:
    """The example `of` an image and target, in the cell of `line`.

    `lines` are those of its victim, with their settings in words and the addresses that show them.
    """
    image, target = of
    cell, model = str(line["cell"].iloc[0]), str(line["model"].iloc[0])
    given = {"image": image, "target": target, "model": model, "cells": lines["cell"].tolist()}
    rows = source.ask(_COLUMNS, _SAME, **given).drop_duplicates("cell")
    stored = {key: pixels for key, pixels in source.adversarial(rows[rows["success"]]).items() if key[1:] == of}
    original = originals(source, data, [image])[image]
    names = class_names(data, rows["label"], [] if target is None else [target])
    by_cell: dict[str, Row] = {row["cell"]: row for row in rows.to_dict("records")}
    row, adversarial = by_cell[cell], stored.get((cell, image, target))
    scale = _scale(original, stored.values() if adversarial is None else [adversarial])
    aim = "untargeted" if target is None else f"target {names[target]}"
    st.html(strip(_large(row, original, adversarial, scale, names, aim), "large"))
    tested = set(found.summary.loc[found.summary["cell"] == cell, "evaluated_on"])
    called = {digest: name for digest, name in victim_names(found.victims).items() if digest in tested}
    st.subheader("What the victims say")
    _judgements(source, called, original, adversarial, row, names)
    others = [str(other) for other in lines["cell"] if other in by_cell and other != cell]
    if others:
        st.subheader("Under other attacks")
        named = {cell: (setting, address) for cell, setting, address in lines[_NAMED].to_numpy().tolist()}
        shown = [
            _small(by_cell[other], *named[other], stored.get((other, image, target)), original, scale)
            for other in others[:_MOST_OTHERS]
        ]
        st.html(strip(shown, "small"))
        more = "" if len(others) <= _MOST_OTHERS else f" The first {_MOST_OTHERS} of {len(others)} attacks."
        drawn = "" if original is None else f" Perturbations are all on one scale, ±{scale:.3g}."
        st.caption(f"The same image and target.{drawn}{more}")


def originals(source: Source, data: DataSet | str, images: Sequence[int]) -> dict[int, Floats | None]:
    """The images (C, H, W) of the split that was attacked; None where the data set is not at hand."""
    if isinstance(data, str):
        return dict.fromkeys(images)
    pixels = getattr(data, source.found().spec.images.split).images(images).numpy()
    return dict(zip(images, pixels, strict=True))


def class_names(data: DataSet | str, labels: Iterable[int], targets: Iterable[int | None]) -> list[str]:
    """By class index; numbers where the data set is not at hand."""
    if not isinstance(data, str):
        return list(data.class_names)
    known = {*map(int, labels), *(target for target in targets if target is not None)}
    return [str(index) for index in range(1 + max(known))]


def _scale(original: Floats | None, adversarial: Iterable[Floats]) -> float:
    """The greatest change of a pixel."""
    return 0.0 if original is None else max((float(np.abs(image - original).max()) for image in adversarial), default=0)


def _large(
    row: Row,
    original: Floats | None,
    adversarial: Floats | None,
    scale: float,
    names: Sequence[str],
    aim: str,
) -> list[tuple[list[str], str]]:
    """The original, the adversarial image and the perturbation."""
    found = []
    label = names[int(row["label"])]
    if original is not None:
        found.append(
            (
                [picture(original, f"original of class {label}")],
                f"<b>Original</b> {row['image']}, class {escape(label)}",
            )
        )
    if adversarial is None:
        return [*found, ([_none("no adversarial image")], f"<b>The attack failed</b> ({escape(aim)})")]
    facts = ", ".join(f"{head} {_number(row[name])}" for name, head in _FACTS.items() if not _missing(row[name]))
    spent = "" if _missing(row["iterations"]) else f"; {row['iterations']:,} gradient evaluations"
    found.append(
        ([picture(adversarial, f"adversarial image, {aim}")], f"<b>Adversarial</b>, {escape(aim)}<br>{facts}{spent}")
    )
    if original is not None:
        change = signed(adversarial - original, scale)
        how = "each channel around grey" if len(original) == 3 else "blue is darker, orange is brighter"
        found.append(([picture(change, "perturbation")], f"<b>Perturbation</b>, ±{scale:.3g} at full colour; {how}"))
    return found


def _small(
    row: Row, setting: str, address: str, adversarial: Floats | None, original: Floats | None, scale: float
) -> tuple[list[str], str]:
    """The same example in another cell, which it leads to."""
    if adversarial is None:
        parts = [_none(f"{setting}: no adversarial image")]
        said = "failed"
    else:
        parts = [picture(adversarial, f"adversarial image of {setting}")]
        if original is not None:
            parts.append(picture(signed(adversarial - original, scale), f"perturbation of {setting}"))
        said = ", ".join(f"{head} {_number(row[name])}" for name, head in _FACTS.items() if name in METRICS)
    return [f'<a href="{escape(address)}">{" ".join(parts)}</a>'], f"{escape(setting)}<br>{said}"


def _none(said: str) -> str:
    """What stands in the place of an image that there is not."""
    return f'<span class="none" role="img" aria-label="{escape(said)}" title="{escape(said)}">×</span>'


def _judgements(
    source: Source,
    victims: Mapping[str, str],
    original: Floats | None,
    adversarial: Floats | None,
    row: Row,
    names: Sequence[str],
) -> None:
    """The class that each victim gives the original and the adversarial image, and by what margin."""
    target = None if _missing(row["target"]) else int(row["target"])
    aim = int(row["label"]) if target is None else target
    shown = {"original": original, "adversarial": adversarial}
    heads = "".join(
        f'<th scope="col" class="first">{name}</th><th scope="col">margin</th>'
        for name, pixels in shown.items()
        if pixels is not None
    )
    lines, absent = [], []
    for digest, name in zip(victims, told_apart([*victims.values()]), strict=True):
        cells = []
        for pixels in shown.values():
            if pixels is None:
                continue
            answer = logits(source.folder, digest, pixels[None])
            if isinstance(answer, str):
                absent.append(f"{name}: {answer}")
                break
            lead = margin(torch.from_numpy(answer), torch.tensor([aim]), targeted=target is not None).item()
            given = escape(names[int(answer[0].argmax())])
            cells.append(f'<td class="first">{given}</td><td>{lead:+.2f}</td>')
        else:
            lines.append(f'<tr><th scope="row" class="label">{escape(name)}</th>{"".join(cells)}</tr>')
    for problem in absent:
        st.warning(f"The victim's weights are not here. {problem}")
    if lines:
        table = (
            f"<thead><tr><th scope='col' class='label'>victim</th>{heads}</tr></thead><tbody>{''.join(lines)}</tbody>"
        )
        box = '<div class="scroll" tabindex="0" role="region" aria-label="What the victims say">'
        st.html(f'{box}<table class="figures">{table}</table></div>')
        over = (
            "the target's logit over the greatest other" if target is not None else "any other logit over the label's"
        )
        st.caption(f"The class that a victim gives, and the margin: {over}; above 0, it is fooled.")


def _missing(value: Any) -> bool:
    return bool(pd.isna(value))


def _number(value: Any) -> str:
    return figure_text(float(value))
