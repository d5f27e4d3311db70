"""One example of a sweep: its images, and its rows in every cell."""

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from eadbench.harness import datasets
from eadbench.harness.errors import UserError
from eadbench.harness.parquet.adversarial import Images, read_images
from eadbench.harness.parquet.query import FILES, Files
from eadbench.harness.parquet.rows import SCHEMA, WHAT, frame_of, keys_of, read_rows
from eadbench.harness.plan.grid import Victim, blocks
from eadbench.harness.results.folder import Results

__all__ = ["Found", "Named", "Row", "find", "first", "named"]

Row = dict[Hashable, Any]
"""A row of results, by its columns."""

_SAME = "image = $image AND target IS NOT DISTINCT FROM $target AND cell IN (SELECT unnest($cells))"


@dataclass(frozen=True, kw_only=True)
class Named:
    """An image, its target class (None: untargeted), and the first digits of a cell (none: any)."""

    image: int
    target: int | None
    cell: str = ""

    def __str__(self) -> str:
        return ":".join([str(self.image), "" if self.target is None else str(self.target), self.cell]).rstrip(":")


@dataclass(frozen=True, kw_only=True)
class Found:
    """An example, as a sweep has it."""

    name: Named
    rows: pd.DataFrame
    """Of every cell that has it, in the order of the spec, on its own victim and then on others: all columns."""
    row: Row
    """Of the cell whose adversarial image this is, on the victim that was attacked."""
    victims: Sequence[Victim]
    class_names: Sequence[str]
    """By class index; numbers where the data set is not at hand."""
    original: Images | None
    """(C, H, W) in [0, 1]; None where the data set is not at hand."""
    adversarial: Images | None
    """(C, H, W) in [0, 1]; None where the attack failed, or images are not stored."""
    problem: str
    """Why there is no original; empty where there is one."""


def named(text: str) -> Named:
    """What ``IMAGE:TARGET:CELL`` names, of which target and cell may be left out.

    Raises
    ------
    UserError
        It is not of that form.
    """
    found = re.fullmatch(r"(\d+)(?::(\d*))?(?::([0-9a-f]+))?", text)
    if found is None:
        raise UserError(f"--example {text}: must be IMAGE:TARGET or IMAGE:TARGET:CELL, such as 17:3 or 17:3:0a1b2c")
    image, target, cell = found.groups()
    return Named(image=int(image), target=int(target) if target else None, cell=cell or "")


def first(results: Results) -> Named:
    """The first success in the first part, or its first row.

    Raises
    ------
    UserError
        There is no row yet.
    """
    part = min(results.examples.glob("[!.]*.parquet"), default=None)
    if part is None:
        raise UserError(f"{results.root}: has no rows yet; run its spec first")
    rows = read_rows([part], columns=["cell", "image", "target", "success"])
    [(_, image, target)] = keys_of(pd.concat([rows[rows["success"]], rows]).head(1))
    return Named(image=image, target=target)


def find(results: Results, name: Named) -> Found:
    """Look for an example in every cell of the spec.

    Raises
    ------
    UserError
        The sweep has no such example, or no such cell.
    """
    spec, (dataset, victims) = results.spec(), results.victims()
    cells = [cell.digest for block in blocks(spec, dataset, victims) for cell in block.cells()]
    rows = _rows(results, name, cells)
    if rows.empty:
        images = next((victim.images for victim in victims if victim.attacked), [])
        there = ", ".join(map(str, images[:5])) + (", …" if len(images) > 5 else "")
        raise UserError(f"--example {name}: there are no rows of it; the images are {there or 'not drawn yet'}")
    row = _chosen(rows, name)
    data = datasets.at_hand(spec.dataset)
    if isinstance(data, str):
        classes = 1 + int(rows[["label", "target"]].max().max())
        original, names, problem = None, [str(index) for index in range(classes)], data
    else:
        [original] = getattr(data, spec.images.split).images([name.image]).numpy()
        names, problem = list(data.class_names), ""
    return Found(
        name=name,
        rows=rows,
        row=row,
        victims=victims,
        class_names=names,
        original=original,
        adversarial=_adversarial(results, row, name),
        problem=problem,
    )


def _rows(results: Results, name: Named, cells: Sequence[str]) -> pd.DataFrame:
    """Of the example in those cells, in their order."""
    parts = sorted(results.examples.glob("[!.]*.parquet"))
    if not parts:
        return frame_of(SCHEMA.empty_table())
    given = {"image": name.image, "target": name.target, "cells": list(cells)}
    rows = frame_of(Files(parts, SCHEMA, WHAT).ask(f"SELECT * FROM {FILES} WHERE {_SAME}", given))
    order = {digest: number for number, digest in enumerate(cells)}
    rows = rows.assign(order=rows["cell"].map(order), other=rows["evaluated_on"] != rows["model"])
    rows = rows.sort_values(["order", "other", "evaluated_on"], kind="stable").drop(columns=["order", "other"])
    return rows.drop_duplicates(["cell", "evaluated_on"], ignore_index=True)


def _chosen(rows: pd.DataFrame, name: Named) -> Row:
    """Of the cell that is named; unless one is, of the first in which the attack succeeded, or else of the first."""
    own = rows[rows["evaluated_on"] == rows["model"]]
    found = own[own["cell"].str.startswith(name.cell)] if name.cell else pd.concat([own[own["success"]], own]).head(1)
    if len(found) != 1:
        which = "none" if found.empty else "more than one"
        cells = ", ".join(cell[:8] for cell in (own if found.empty else found)["cell"])
        raise UserError(f"--example {name}: {which} of its cells begins so: {cells}")
    return found.iloc[0].to_dict()


def _adversarial(results: Results, row: Row, name: Named) -> Images | None:
    part = results.image_part(row["shard"])
    if not row["success"] or not part.is_file():
        return None
    keys, pixels = read_images([part], cells=[row["cell"]], images=[name.image])
    return dict(zip(keys_of(keys), pixels, strict=True)).get((row["cell"], name.image, name.target))
