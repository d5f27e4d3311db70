"""The tables of attacks with the paper's figures beside them, and the transfer of examples to other victims."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd
from markupsafe import Markup

from eadbench.dashboards.figures_table import LINE_LIMIT, published_figures, table_html
from eadbench.dashboards.lines import described
from eadbench.dashboards.page.section import Section
from eadbench.dashboards.rendering import render
from eadbench.harness.analysis import transfer as transfers
from eadbench.harness.analysis.aggregate import CASES
from eadbench.harness.analysis.summary import Summary
from eadbench.harness.labels import AXES
from eadbench.harness.numbers import parameter_text
from eadbench.harness.paper import comparison
from eadbench.harness.reporting import report
from eadbench.harness.reporting.tables.pages import group_heads

__all__ = ["attacks", "transfer"]

_GROUPS = {
    "Best and average case": ("best", "average"),
    "Worst case, and all targets": ("worst", "all_targets"),
}
"""The groups of columns of each table: four groups with intervals are wider than a page."""
_ONE_GROUP = {"Success and distortion": ("average",)}
_HEADS = ("crafted on", "attack", AXES["beta"], AXES["kappa"])
_RATE_LIMIT = 8_000
"""Rates that the transfer matrix shows."""


@dataclass(frozen=True, kw_only=True)
class _Tables:
    """Tables of the same lines, by title."""

    tables: Mapping[str, Markup]
    paper: bool
    """Whether the paper's figures stand beside ours."""
    shown: int
    """Lines that are shown."""
    total: int


@dataclass(frozen=True, kw_only=True)
class _Rate:
    """A rate of the matrix; `share` is how dark its cell is, `own` marks the victim that examples were crafted on."""

    text: str
    share: str
    own: bool


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A line of the matrix: the victim crafted on, the attack, and a rate for each victim tested on."""

    source: str
    setting: Sequence[str]
    rates: Sequence[_Rate | None]


def attacks(summary: Summary) -> Section:
    """Return the figures of attacks on the victims that they were crafted on."""
    tables = None if summary.own.empty else _tables(summary, summary.own)
    if tables and summary.quantised:
        rounded = _tables(summary, summary.after_rounding, ", after rounding to 8 bits", paper=False)
        tables = replace(tables, tables={**tables.tables, **rounded.tables})
    several_cases = not summary.own.empty and len(group_heads(summary.own)) > 1
    images = report.images_text(summary.spec)
    body = render("attacks.html.j2", tables=tables, several_cases=several_cases, images=images)
    return Section(anchor="tables", title="Tables", body=body)


def transfer(summary: Summary) -> Section | None:
    """Return the figures of examples on other victims; None if none was tested on another."""
    matrix = transfers.matrix(summary.lines, summary.victims)
    on_all = transfers.matrix(summary.lines, summary.victims, "all_images_asr")
    if matrix is None or on_all is None:
        return None
    others = summary.lines[summary.lines["model"] != summary.lines["evaluated_on"]]
    digests = transfers.victims_tested_on(matrix)
    labels = summary.labels.victim
    body = render(
        "transfers.html.j2",
        heads=_HEADS,
        victims=[labels.get(digest, digest) for digest in digests],
        rows=_matrix_rows(summary, matrix.iloc[: max(1, _RATE_LIMIT // len(digests))], on_all, digests),
        pair_heads=transfers.PAIR_HEADS,
        pairs=transfers.pair_texts(summary.lines, summary.victims, summary.labels),
        total=len(matrix),
        meaning=transfers.meaning(summary.spec),
        tables=_tables(summary, others, ", on other victims"),
    )
    return Section(anchor="transfer", title="Transfer", body=body)


def _tables(summary: Summary, lines: pd.DataFrame, where: str = "", *, paper: bool = True) -> _Tables:
    """Return lines of the summary in two tables, with the paper's figures if `paper`."""
    first = lines.iloc[: LINE_LIMIT * len(CASES)]
    texts = described(summary, first)
    # The paper's attacks are targeted.
    compared = comparison.compare(first, summary.victims) if summary.spec.targeted and paper else None
    published = published_figures(compared)
    tables = {}
    for groups_title, groups in (_GROUPS if len(group_heads(first)) > 1 else _ONE_GROUP).items():
        title = f"{groups_title}{where}"
        part = first if "average" in groups else first[first["targets_per_image"] > 1]  # others have one case
        tables[title] = table_html(
            summary, part, texts.loc[part.index], groups=groups, intervals=True, paper=published, aria_label=title
        )
    return _Tables(tables=tables, paper=bool(published), shown=len(first) // len(CASES), total=len(lines) // len(CASES))


def _matrix_rows(summary: Summary, matrix: pd.DataFrame, on_all: pd.DataFrame, digests: Sequence[str]) -> list[_Row]:
    labels = summary.labels
    return [
        _Row(
            source=labels.victim.get(line["model"], line["model"]),
            setting=[
                labels.series[line["series"]],
                parameter_text(line["beta"]),
                parameter_text(line["kappa"]),
            ],
            rates=[_rate(line[digest], images[digest], own=digest == line["model"]) for digest in digests],
        )
        for line, images in zip(matrix.to_dict("records"), on_all.to_dict("records"), strict=False)
    ]


def _rate(rate: float, on_all_images: float, *, own: bool) -> _Rate | None:
    if pd.isna(rate) and pd.isna(on_all_images):
        return None
    share = 0.0 if pd.isna(rate) else rate / 100
    return _Rate(text=transfers.entry_text(rate, on_all_images), share=f"{share:.2f}", own=own)
