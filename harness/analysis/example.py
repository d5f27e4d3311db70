"""One example of a sweep: its original and adversarial image, and its rows in every cell."""

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from eadbench.harness.errors import UserError
from eadbench.harness.labels import Labels
from eadbench.harness.parquet.adversarial import Images, read_images
from eadbench.harness.parquet.originals import file_of
from eadbench.harness.parquet.query import FILES
from eadbench.harness.parquet.rows import SCHEMA, files_of, frame_of, keys_of
from eadbench.harness.plan.grid import Victim
from eadbench.harness.results.folder import Results
from eadbench.harness.results.snapshot import Snapshot

__all__ = ["Found", "Named", "Row", "find", "first", "named"]

Row = dict[Hashable, Any]
"""A row of results, by its columns."""

_CONDITION = "image = $image AND target IS NOT DISTINCT FROM $target AND cell IN (SELECT unnest($cells))"


_FIRST = f"SELECT cell, image, target FROM {FILES} ORDER BY NOT success, file_row_number LIMIT 1"
_PLACE = "row(file_index, file_row_number)"
_OF_EACH_CELL = (
    f"SELECT * REPLACE (coalesce(success, false) AS success) FROM {FILES} WHERE {_CONDITION} AND {_PLACE} IN "
    f"(SELECT min({_PLACE}) FROM {FILES} WHERE {_CONDITION} GROUP BY cell, evaluated_on)"
)
"""The first row of each cell and victim tested on: a part may repeat a row without end."""


@dataclass(frozen=True, kw_only=True)
class Named:
    """An example's name: an image, its target class (None: untargeted), and the first digits of a cell (empty: any)."""

    image: int
    target: int | None
    cell: str = ""

    def __str__(self) -> str:
        return ":".join([str(self.image), "" if self.target is None else str(self.target), self.cell]).rstrip(":")


@dataclass(frozen=True, kw_only=True)
class Found:
    """An example of a sweep: its rows and images, with what is needed to label them."""

    name: Named
    rows: pd.DataFrame
    """The example's rows in every cell, all columns: in the order of the spec, the attacked victim before others."""
    row: Row
    """The row of the chosen cell on the victim that was attacked; the adversarial image is this cell's."""
    victims: Sequence[Victim]
    """The sweep's victims."""
    labels: Labels
    """The sweep's labels."""
    class_names: Sequence[str]
    """Names by class index; numbers if neither the data set nor the folder has them."""
    original: Images | None
    """(C, H, W) in [0, 1]; None if the data set is not on this machine."""
    adversarial: Images | None
    """(C, H, W) in [0, 1]; None if the attack failed, or images are not stored."""
    file: str | None
    """The image's file, relative to the data set's folder; None if it is no file."""
    problem: str
    """Why there is no original; empty if there is one."""


def named(text: str) -> Named:
    """Parse ``IMAGE:TARGET:CELL``; target and cell are optional.

    Raises
    ------
    UserError
        The text has another form.
    """
    match = re.fullmatch(r"(\d+)(?::(\d*))?(?::([0-9a-f]+))?", text)
    if match is None:
        raise UserError(f"--example {text}: must be IMAGE:TARGET or IMAGE:TARGET:CELL, such as 17:3 or 17:3:0a1b2c")
    image, target, cell = match.groups()
    return Named(image=int(image), target=int(target) if target else None, cell=cell or "")


def first(results: Results) -> Named:
    """Return the name of the first success in the first part, or of its first row.

    Raises
    ------
    UserError
        The sweep has no rows yet.
    """
    part = min(results.examples.glob("[!.]*.parquet"), default=None)
    if part is None:
        raise UserError(f"{results.root}: has no rows yet; run its spec first")
    rows = frame_of(files_of([part]).ask(_FIRST))
    if rows.empty:
        raise UserError(f"{part}: has no rows; delete it and run again")
    [(_, image, target)] = keys_of(rows)
    return Named(image=image, target=target)


def find(snapshot: Snapshot, name: Named) -> Found:
    """Read an example from every cell of the spec.

    Raises
    ------
    UserError
        The sweep has no such example, or no such cell.
    """
    spec, victims = snapshot.spec, snapshot.victims
    series = snapshot.settings.set_index("cell")["series"]
    rows = _rows(snapshot.folder, name, list(snapshot.cells)).assign(series=lambda rows: rows["cell"].map(series))
    if rows.empty:
        images = next((victim.images for victim in victims if victim.attacked), [])
        choices = ", ".join(map(str, images[:5])) + (", …" if len(images) > 5 else "")
        raise UserError(f"--example {name}: there are no rows of it; the images are {choices or 'not drawn yet'}")
    row = _choose_row(rows, name)
    data = snapshot.data()
    if isinstance(data, str):
        original, names, problem = None, _stored_names(snapshot.folder, rows), data
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
        adversarial=_adversarial(snapshot.folder, row, name),
        labels=Labels(lines=snapshot.settings, victims=victims),
        file=file_of(snapshot.folder.originals, spec.images.split, name.image),
        problem=problem,
    )


def _stored_names(results: Results, rows: pd.DataFrame) -> list[str]:
    """Return the names of the classes that the folder has; numbers where it has none."""
    stored, classes = list(results.class_names()), 1 + int(rows[["label", "target"]].max().max())
    return stored if len(stored) >= classes else [str(index) for index in range(classes)]


def _rows(results: Results, name: Named, cells: Sequence[str]) -> pd.DataFrame:
    """Read the example's rows, in the order of the cells, the attacked victim before others."""
    parts = sorted(results.examples.glob("[!.]*.parquet"))
    if not parts:
        return frame_of(SCHEMA.empty_table())
    arguments = {"image": name.image, "target": name.target, "cells": list(cells)}
    rows = frame_of(files_of(parts).ask(_OF_EACH_CELL, arguments))
    order = {digest: number for number, digest in enumerate(cells)}
    transfer = rows["evaluated_on"] != rows["model"]
    rows = rows.assign(order=rows["cell"].map(order), transfer=transfer)
    rows = rows.sort_values(["order", "transfer", "evaluated_on"], kind="stable").drop(columns=["order", "transfer"])
    return rows.drop_duplicates(["cell", "evaluated_on"], ignore_index=True)


def _choose_row(rows: pd.DataFrame, name: Named) -> Row:
    """Return the row of the named cell; without a cell in the name, the first success, or else the first row."""
    own = rows[rows["evaluated_on"] == rows["model"]]
    matches = own[own["cell"].str.startswith(name.cell)] if name.cell else pd.concat([own[own["success"]], own]).head(1)
    if len(matches) != 1:
        count = "none" if matches.empty else "more than one"
        cells = ", ".join(cell[:8] for cell in (own if matches.empty else matches)["cell"])
        raise UserError(f"--example {name}: {count} of its cells begins so: {cells}")
    return matches.iloc[0].to_dict()


def _adversarial(results: Results, row: Row, name: Named) -> Images | None:
    """Read the stored adversarial image of a row, if there is one."""
    part = results.image_part(row["shard"])
    if not row["success"] or not part.is_file():
        return None
    keys, pixels = read_images([part], cells=[row["cell"]], images=[name.image])
    return dict(zip(keys_of(keys), pixels, strict=True)).get((row["cell"], name.image, name.target))
