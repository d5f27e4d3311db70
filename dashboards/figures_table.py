"""The best/average/worst table as HTML: a section for each victim, a group of columns for each case."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import pandas as pd
from markupsafe import Markup

from eadbench.dashboards.rendering import render
from eadbench.harness.analysis.aggregate import ALL_TARGETS, FIGURES
from eadbench.harness.analysis.summary import Summary
from eadbench.harness.label_parts import TARGETS
from eadbench.harness.labels import AXES, OWN, Labels, dataset_label
from eadbench.harness.labels import FIGURES as FIGURE_LABELS
from eadbench.harness.numbers import NO_VALUE, figure_text, rate_text
from eadbench.harness.reporting.tables.pages import (
    MARK,
    best_figures,
    group_heads,
    group_of_one_case,
    missing_text,
    targets_of,
)

__all__ = ["HEADS", "LINE_LIMIT", "PublishedFigures", "figures_of", "published_figures", "table_html"]

LINE_LIMIT = 400
"""Lines that one table shows at most."""

HEADS = {**FIGURE_LABELS, "asr": f"{FIGURE_LABELS['asr']}, %"}
_LABEL_HEADS = {
    "series": "attack",
    TARGETS: TARGETS,
    "beta": AXES["beta"],
    "kappa": AXES["kappa"],
    "tested": "tested on",
}
_LINE = ["cell", "evaluated_on"]

PublishedFigures = Mapping[tuple[str, str, str], Mapping[str, float]]
"""The paper's figures by cell, victim tested on, and case."""


@dataclass(frozen=True, kw_only=True)
class _Figure:
    """A figure as printed; `best` marks the best of its column."""

    text: str
    best: bool
    paper: str | None
    interval: str | None


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A line of the table: its labels by column, and its figures by group of columns."""

    labels: Mapping[str, str]
    groups: Sequence[Sequence[_Figure]]


@dataclass(frozen=True, kw_only=True)
class _Section:
    """The rows of one victim."""

    title: str
    rows: Sequence[_Row]


def figures_of(lines: pd.DataFrame, group: str) -> pd.DataFrame:
    """Return the figures of one group of a summary's lines, with the ends of their intervals, in the same order.

    Returns
    -------
    DataFrame by cell and victim tested on, with the columns of ``FIGURES``, each of them also with _lo and _hi.
    """
    case = "best" if group == "all_targets" else group  # the mean over all targets stands in each case's line
    part = lines[lines["case"] == case].set_index(_LINE)
    columns = dict(zip(ALL_TARGETS if group == "all_targets" else FIGURES, FIGURES, strict=True))
    return pd.DataFrame(
        {target + end: part[source + end] for source, target in columns.items() for end in ("", "_lo", "_hi")}
    )


def published_figures(compared: pd.DataFrame | None) -> PublishedFigures:
    """Return the paper's figures of a comparison by ``eadbench.harness.paper``.

    The paper prints some lines twice; the first counts.
    """
    if compared is None:
        return {}
    first = compared.drop_duplicates([*_LINE, "case"])
    keys = zip(first["cell"], first["evaluated_on"], first["case"], strict=True)
    columns = [f"{name}_paper" for name in FIGURES]
    values = (dict(zip(FIGURES, line, strict=True)) for line in first[columns].to_numpy(dtype=float).tolist())
    return dict(zip(keys, values, strict=True))


def table_html(
    summary: Summary,
    lines: pd.DataFrame,
    texts: pd.DataFrame,
    *,
    groups: Sequence[str],
    intervals: bool = False,
    paper: PublishedFigures | None = None,
    aria_label: str = "Table of attacks",
) -> Markup:
    """Return the table of some lines of a summary as HTML.

    Parameters
    ----------
    texts
        Of those lines, from ``dashboards.lines.described``.
    groups
        Cases, and all_targets, in the order of the columns; one of them is shown if they coincide.
    intervals
        Whether 95 % intervals stand below the figures.
    paper
        The paper's figures, which stand beside ours in brackets.
    aria_label
        The table's name for screen readers.
    """
    group_titles = group_heads(lines)
    groups = [group for group in groups if group in group_titles] or list(group_titles)
    labels = [name for name in _LABEL_HEADS if name == "series" or texts[name].replace(OWN, "").ne("").any()]
    if texts[TARGETS].nunique() > 1:
        texts = texts.assign(series=lines["series"].map(_without_targets(summary.labels)))
    else:
        labels.remove(TARGETS)
    sections = [
        _Section(
            title=_title(summary, part),
            rows=_rows(part, texts.loc[part.index, labels], groups, intervals=intervals, paper=paper or {}),
        )
        for _, part in lines.groupby(["dataset", "model"], sort=False)
    ]
    return render(
        "figures_table.html.j2",
        sections=sections,
        labels={name: _LABEL_HEADS[name] for name in labels},
        groups=[group_titles[group] for group in groups],
        heads=[HEADS[name] for name in FIGURES],
        note=missing_text(lines[~lines.duplicated(_LINE)]),
        aria_label=aria_label,
    )


def _without_targets(labels: Labels) -> dict[str, str]:
    """Return the label of every attack without its targets, which have a column; one with a digest keeps them."""
    return {
        series: attack.without([TARGETS]) if labels.series[series] == attack.label else labels.series[series]
        for series, attack in labels.attacks.items()
    }


def _rows(
    lines: pd.DataFrame, texts: pd.DataFrame, groups: Sequence[str], *, intervals: bool, paper: PublishedFigures
) -> list[_Row]:
    """Return a row for each line of one victim."""
    first = ~lines.duplicated(_LINE)
    labels = texts[first].to_dict("records")
    by_key = lines[first].set_index(_LINE)
    complete, one_case = by_key["missing"] == 0, by_key["targets_per_image"] == 1
    empty = [_Figure(text="", best=False, paper=None, interval=None)] * len(FIGURES)
    columns = {group: _column_figures(figures_of(lines, group), by_key, group, intervals, paper) for group in groups}
    keys = list(zip(lines.loc[first, "cell"], lines.loc[first, "evaluated_on"], strict=True))
    for key, label in zip(keys, labels, strict=True):
        label["series"] += "" if complete[key] else MARK
    return [
        _Row(
            labels={str(name): str(text) for name, text in label.items()},
            groups=[
                empty if one_case[key] and group != group_of_one_case(groups) else columns[group][key]
                for group in groups
            ],
        )
        for label, key in zip(labels, keys, strict=True)
    ]


def _column_figures(
    figures: pd.DataFrame, lines: pd.DataFrame, group: str, intervals: bool, paper: PublishedFigures
) -> dict[tuple[str, str], list[_Figure]]:
    """Return the printed figures of each line of one group, by cell and victim tested on."""
    values, marks = figures.to_dict("index"), _marks(figures, lines).to_dict("index")
    return {
        (cell, tested): [
            _figure(name, values[cell, tested], marks[cell, tested][name], intervals, paper.get((cell, tested, group)))
            for name in FIGURES
        ]
        for cell, tested in figures.index.tolist()
    }


def _marks(figures: pd.DataFrame, lines: pd.DataFrame) -> pd.DataFrame:
    """Mark the best figures among the complete lines that were tested on the same victim."""
    parts = figures.groupby(level="evaluated_on", sort=False)
    return pd.concat([best_figures(part, lines.loc[part.index]) for _, part in parts])


def _figure(
    name: str, values: Mapping[Hashable, Any], best: bool, intervals: bool, paper: Mapping[str, float] | None
) -> _Figure:
    as_text = rate_text if name == "asr" else figure_text
    low, high = values[f"{name}_lo"], values[f"{name}_hi"]
    published = None if paper is None else paper[name]
    return _Figure(
        text=as_text(values[name]),
        best=best,
        paper=None if published is None else NO_VALUE if isnan(published) else as_text(published),
        interval=f"{as_text(low)}, {as_text(high)}" if intervals and not isnan(low) else None,
    )


def _title(summary: Summary, lines: pd.DataFrame) -> str:
    """Return what was attacked: data set, victim and accuracy, the number of images, and their targets."""
    dataset, model = lines["dataset"].iloc[0], str(lines["model"].iloc[0])
    accuracy = next((victim.accuracy for victim in summary.victims if victim.digest == model), None)
    least, most = lines["images"].min(), lines["images"].max()
    images = f"{most} image{'' if most == 1 else 's'}" if least == most else f"{least} to {most} images"
    known = [] if accuracy is None else [f"accuracy {100 * accuracy:.2f} %"]
    victim = summary.labels.victim_details.get(model, model)
    return f"{dataset_label(dataset)}: {', '.join([victim, *known, images, targets_of(lines)])}"
