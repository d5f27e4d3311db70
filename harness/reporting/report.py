"""The report of a sweep, from its rows: tables, the transfer matrix, curves, galleries, and the paper beside them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Group, RenderableType
from rich.text import Text

from eadbench.harness import datasets
from eadbench.harness.analysis import aggregate
from eadbench.harness.analysis import transfer as transfer_matrix
from eadbench.harness.errors import UserError
from eadbench.harness.parquet.stored import SETTING, StoredRows
from eadbench.harness.plan.grid import Victim
from eadbench.harness.reporting import tables
from eadbench.harness.results.folder import Results, write_text
from eadbench.harness.spec.schema import Spec

AT_ONCE = 2**21
"""Rows that are summarised at a time, unless one line of a table has more: some 600 MB."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a sweep found."""

    spec: Spec
    victims: Sequence[Victim]
    summary: pd.DataFrame


def read(results: Results) -> Found:
    """The summary of the rows that answer a folder's spec."""
    spec, stored = results.spec(), results.stored()
    batches = stored.batches(aggregate.COUNTED, at_most=AT_ONCE)
    summary = aggregate.summarise_lines(stored.lines, batches, seed=spec.seed).assign(table=spec.name)
    return Found(spec=spec, victims=results.victims()[1], summary=summary)


def terminal(found: Found, *, width: int) -> RenderableType:
    """The tables, and the transfer matrix if examples were tested on other victims."""
    summary = found.summary
    own = summary[summary["model"] == summary["evaluated_on"]].assign(table="")
    parts: list[RenderableType] = [tables.terminal(own, found.victims, width=width)]
    matrix = transfer_matrix.matrix(summary, found.victims)
    if matrix is not None:
        parts.append(transfer_matrix.terminal(matrix, found.victims))
    return Group(*parts, Text(images_text(found.spec), style="dim"), Text())


def text(found: Found, format: str) -> str:
    """The tables as csv, markdown (which says too how images were drawn) or latex."""
    rendered = tables.render(found.summary, format, found.victims)
    return f"{rendered}\n{images_text(found.spec)}\n" if format == "markdown" else rendered


def images_text(spec: Spec) -> str:
    """How the images that are attacked were drawn."""
    who = (
        "every victim of the sweep classifies" if spec.images.correct_on == "all" else "the attacked victim classifies"
    )
    return (
        f"Images: the first {spec.images.count} of the {spec.images.split} split's seeded order that {who} correctly."
    )


def write(results: Results, found: Found) -> dict[str, str]:
    """Write the tables and the transfer matrix into ``DIR/report``; returns file name to text."""
    endings = {"table.csv": "csv", "table.md": "markdown", "table.tex": "latex"}
    texts = {file: text(found, format) for file, format in endings.items()}
    matrix = transfer_matrix.matrix(found.summary, found.victims)
    if matrix is not None:
        texts["transfer.csv"] = str(matrix.to_csv(index=False, lineterminator="\n"))
    for file, content in texts.items():
        write_text(results.report / file, content)
    return texts


def draw(results: Results, found: Found) -> list[Path]:
    """Draw curves over β, κ and T, and a gallery of every cell whose images are stored, into ``DIR/report``."""
    from eadbench.harness.reporting import figures, gallery

    written = figures.save(figures.draw(found.summary, found.victims), results.report)
    if found.spec.save_images == "successes":
        data = datasets.load(**found.spec.dataset)
        parts = sorted(results.images.glob("[!.]*.parquet"))
        split = getattr(data, found.spec.images.split)
        for rows in _cells(results.stored()):
            for name, figure in gallery.galleries(rows, parts, lambda of: split.images(of).numpy(), data.class_names):
                written += figures.save({name: figure}, results.report)
    return written


def _cells(stored: StoredRows) -> Iterator[pd.DataFrame]:
    """What a gallery needs of the rows of each cell, tested on its own victim."""
    own = stored.lines[stored.lines["model"] == stored.lines["evaluated_on"]]
    for line in own.index:
        yield stored.read([*SETTING, "image", "label", "target", "success"], [line])


def together(folders: Sequence[Results]) -> tuple[pd.DataFrame, list[Victim], int]:
    """What claims are tested on of the rows of several sweeps, their victims, and the seed of the first."""
    columns = [*SETTING, "image", "target", "success", *aggregate.METRICS]
    rows = pd.concat([results.rows(columns) for results in folders], ignore_index=True)
    victims = [victim for results in folders for victim in results.victims()[1]]
    return rows, victims, folders[0].spec().seed


def compared(found: Found) -> pd.DataFrame:
    """The figures that the paper has too, beside its own."""
    from eadbench.harness.paper import comparison

    if found.spec.targets == "untargeted":
        raise UserError("--compare paper: the paper's attacks are targeted, those of this sweep are not")
    lines = comparison.compare(found.summary, found.victims)
    if lines.empty:
        raise UserError("--compare paper: no cell of this sweep is in the paper's tables")
    return lines
