"""Tables over training seeds: one for each group of victims that differ in their seed alone."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from eadbench.harness.analysis.aggregate import FIGURES
from eadbench.harness.analysis.seeds import MEANING, over_seeds, siblings_of
from eadbench.harness.labels import AXES, Labels
from eadbench.harness.labels import FIGURES as FIGURE_LABELS
from eadbench.harness.numbers import figure_text, parameter_text, rate_text
from eadbench.harness.plan.cells import Victim
from eadbench.harness.reporting.tables.matrix import render_table

__all__ = ["SeedPage", "render_seeds", "seed_pages", "seeds_csv", "seeds_terminal"]

_AXES = ("beta", "kappa")


@dataclass(frozen=True, kw_only=True)
class SeedPage:
    """The table of one group of victims."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def seeds_terminal(summary: pd.DataFrame, victims: Sequence[Victim]) -> Group | None:
    """Return the tables for a terminal; None without victims that differ in their seed alone."""
    parts: list[RenderableType] = []
    for page in seed_pages(summary, victims):
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        for head in page.heads:
            table.add_column(head, justify="left" if head == "attack" else "right", no_wrap=head in AXES.values())
        for row in page.rows:
            table.add_row(*map(Text, row))
        parts += [Text(page.title, style="italic"), table, Text()]
    return Group(*parts[:-1], Text(MEANING, style="dim"), Text()) if parts else None


def render_seeds(summary: pd.DataFrame, format: str, victims: Sequence[Victim]) -> str:
    """Render the tables as ``markdown`` or ``latex``; empty without victims that differ in their seed alone."""
    tables = (
        render_table(f"{page.title}. {MEANING}", page.heads, page.rows, format) for page in seed_pages(summary, victims)
    )
    return "".join(f"\n{table}" for table in tables)


def seeds_csv(summary: pd.DataFrame, victims: Sequence[Victim]) -> str:
    """Return every case in full precision as CSV; empty without victims that differ in their seed alone."""
    lines = over_seeds(summary, victims)
    if lines.empty:
        return ""
    labels = Labels(lines=summary, victims=victims)
    lines.insert(0, "victims", lines["siblings"].map(labels.siblings(siblings_of(victims))))
    lines.insert(1, "label", lines["series"].map(labels.series))
    return str(lines.drop(columns=["series"]).to_csv(index=False, lineterminator="\n"))


def seed_pages(summary: pd.DataFrame, victims: Sequence[Victim]) -> Iterator[SeedPage]:
    """Yield the table of each group of victims, in the average case."""
    lines = over_seeds(summary, victims)
    lines = lines[lines["case"] == "average"]
    axes = [name for name in _AXES if lines[name].notna().any()]
    labels = Labels(lines=summary, victims=victims)
    names = labels.siblings(siblings_of(victims))
    for siblings, part in lines.groupby("siblings", sort=False):
        least, most = part["seeds"].min(), part["seeds"].max()
        seeds = f"{most}" if least == most else f"{least} to {most}"
        yield SeedPage(
            title=f"Over {seeds} training seeds, average case: {names[str(siblings)]}",
            heads=["attack", *(AXES[name] for name in axes), *(FIGURE_LABELS[name] for name in FIGURES)],
            rows=[
                [
                    labels.series[line["series"]],
                    *(parameter_text(line[name]) for name in axes),
                    *(_figure(line, name) for name in FIGURES),
                ]
                for line in part.to_dict("records")
            ],
        )


def _figure(line: Mapping[Any, Any], name: str) -> str:
    """Return a mean with half of its interval: ``98.3 ± 1.2``."""
    mean, low, high = (line[f"{name}{end}"] for end in ("", "_lo", "_hi"))
    text = rate_text if name == "asr" else figure_text
    half = max(high - mean, mean - low)  # one end may be cut off at 0 or 100
    return text(mean) if math.isnan(half) else f"{text(mean)} ± {f'{half:.1f}' if name == 'asr' else figure_text(half)}"
