"""The best/average/worst table as HTML: a section for each victim, a group of columns for each case."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import isnan
from typing import Any

import pandas as pd

from eadbench.harness.analysis.aggregate import ALL_TARGETS, FIGURES, GROUPS
from eadbench.harness.labels import NO_VALUE, OWN, defense_text, figure_text, rate_text
from eadbench.harness.plan.grid import Victim

__all__ = ["HEADS", "MOST", "best", "figures_of", "paper_figures", "table_html"]

MOST = 400
"""Lines that are shown at a time."""

HEADS = {"asr": "ASR, %", "l1": "L1", "l2": "L2", "linf": "L∞"}
_GROUP_HEADS = {group: f"{group} case" for group in GROUPS} | {"all_targets": "all targets"}
_LABELS = {"series": "attack", "beta": "β", "kappa": "κ", "tested": "tested on"}

Line = tuple[str, str]
"""A cell, and the victim that its examples were tested on."""
Paper = Mapping[tuple[str, str, str], Mapping[str, float]]
"""What the paper has, by cell, victim tested on, and case."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What of each line stands in the table."""

    groups: Sequence[str]
    labels: Sequence[str]
    intervals: bool
    paper: Paper


def figures_of(lines: pd.DataFrame, group: str) -> pd.DataFrame:
    """The figures of one group of lines of the summary, with the ends of their intervals, in the order of the lines.

    Returns
    -------
    DataFrame by cell and victim tested on, with the columns of ``FIGURES`` and each of them with _lo and _hi.
    """
    case = "best" if group == "all_targets" else group  # the mean over all targets stands in each case's line
    part = lines[lines["case"] == case].set_index(["cell", "evaluated_on"])
    names = dict(zip(ALL_TARGETS if group == "all_targets" else FIGURES, FIGURES, strict=True))
    return pd.DataFrame(
        {target + end: part[source + end] for source, target in names.items() for end in ("", "_lo", "_hi")}
    )


def best(figures: pd.DataFrame) -> pd.DataFrame:
    """Which figures are the best of their column: the least distortion among the lines of highest ASR.

    A line that succeeds less often has its mean over easier images, so it does not compete; what prints the same as
    the least is marked too; a single line, having no rival, is not.
    """
    marks = pd.DataFrame(False, index=figures.index, columns=list(FIGURES))
    top = (figures["asr"] == figures["asr"].max()) & (len(figures) > 1)
    for name in FIGURES[1:]:
        least = figure_text(figures.loc[top, name].min())
        marks[name] = top & (figures[name].map(figure_text) == least) & (least != NO_VALUE)
    return marks


def paper_figures(compared: pd.DataFrame | None) -> dict[tuple[str, str, str], dict[str, float]]:
    """What the paper has, of a comparison by ``eadbench.harness.paper``; of a line that it prints twice, the first."""
    if compared is None:
        return {}
    first = compared.drop_duplicates(["cell", "evaluated_on", "case"])
    keys = zip(first["cell"], first["evaluated_on"], first["case"], strict=True)
    columns = [f"{name}_paper" for name in FIGURES]
    values = (dict(zip(FIGURES, line, strict=True)) for line in first[columns].to_numpy(dtype=float).tolist())
    return dict(zip(keys, values, strict=True))


def table_html(
    lines: pd.DataFrame,
    texts: pd.DataFrame,
    victims: Sequence[Victim],
    *,
    groups: Sequence[str],
    intervals: bool = False,
    paper: Paper | None = None,
    said: str = "Table of attacks",
) -> str:
    """The table of some lines of the summary.

    Parameters
    ----------
    texts
        Of `dashboards.lines.described`, for those lines.
    groups
        Cases, and all_targets, in the order of the columns.
    said
        What the table is called.
    """
    labels = [name for name in _LABELS if name == "series" or texts[name].replace(OWN, "").ne("").any()]
    shown = Shown(groups=groups, labels=labels, intervals=intervals, paper=paper or {})
    sections = lines.groupby(["dataset", "arch", "defense", "model"], sort=False, dropna=False)
    bodies = [_section(part, texts.loc[part.index], victims, shown) for _, part in sections]
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(said)}">'
        f'<table class="figures">{_head(shown)}{"".join(bodies)}</table></div>'
    )


def _head(shown: Shown) -> str:
    """Two rows of headings: groups, and the figures of each."""
    labels = "".join(f'<th rowspan="2" scope="col" class="label {name}">{_LABELS[name]}</th>' for name in shown.labels)
    groups = "".join(
        f'<th colspan="{len(FIGURES)}" scope="colgroup" class="first">{_GROUP_HEADS[g]}</th>' for g in shown.groups
    )
    heads = [f'<th scope="col"{_first(name)}>{HEADS[name]}</th>' for _ in shown.groups for name in FIGURES]
    return f"<thead><tr>{labels}{groups}</tr><tr>{''.join(heads)}</tr></thead>"


def _section(lines: pd.DataFrame, texts: pd.DataFrame, victims: Sequence[Victim], shown: Shown) -> str:
    """A victim: its name over all columns, and a row for each of its lines."""
    frames = {group: figures_of(lines, group) for group in shown.groups}
    figures: dict[str, Any] = {group: frame.to_dict("index") for group, frame in frames.items()}
    marks: dict[str, Any] = {group: _marks(frame).to_dict("index") for group, frame in frames.items()}
    words = texts.assign(cell=lines["cell"], evaluated_on=lines["evaluated_on"])
    words = words.drop_duplicates(["cell", "evaluated_on"]).set_index(["cell", "evaluated_on"])
    rows = []
    for number, line in enumerate(words.index.tolist()):
        row = words.iloc[number]
        labels = [f'<th scope="row" class="label {name}">{escape(str(row[name]))}</th>' for name in shown.labels]
        cells = [cell for g in shown.groups for cell in _cells(figures[g][line], marks[g][line], line, g, shown)]
        rows.append(f"<tr>{''.join(labels)}{''.join(cells)}</tr>")
    columns = len(shown.labels) + len(FIGURES) * len(shown.groups)
    title = f"<span>{escape(_title(lines, victims))}</span>"
    heading = f'<tr><th colspan="{columns}" scope="rowgroup" class="victim">{title}</th></tr>'
    return f"<tbody>{heading}{''.join(rows)}</tbody>"


def _marks(figures: pd.DataFrame) -> pd.DataFrame:
    """The best figures among the lines that were tested on the same victim."""
    tested = figures.groupby(level="evaluated_on", sort=False)
    return pd.concat([best(part) for _, part in tested]) if len(figures) else best(figures)


def _cells(
    figures: Mapping[str, float], marks: Mapping[str, bool], line: Line, group: str, shown: Shown
) -> Iterator[str]:
    """A line's figures in one group of columns."""
    paper = shown.paper.get((*line, group), {})
    for name in FIGURES:
        of = rate_text if name == "asr" else figure_text
        text = f"<strong>{of(figures[name])}</strong>" if marks[name] else of(figures[name])
        if name in paper:
            text += f' <span class="paper">({NO_VALUE if isnan(paper[name]) else of(paper[name])})</span>'
        low, high = figures[f"{name}_lo"], figures[f"{name}_hi"]
        if shown.intervals and not isnan(low):
            text += f'<br><span class="interval">[{of(low)}, {of(high)}]</span>'
        yield f"<td{_first(name)}>{text}</td>"


def _first(name: str) -> str:
    """The class of the first column of a group."""
    return ' class="first"' if name == FIGURES[0] else ""


def _title(lines: pd.DataFrame, victims: Sequence[Victim]) -> str:
    """What was attacked."""
    first = lines.iloc[0]
    victim = next((victim for victim in victims if victim.digest == first["model"]), None)
    least, most = lines["images"].min(), lines["images"].max()
    images = f"{most} image{'' if most == 1 else 's'}" if least == most else f"{least} to {most} images"
    known = "" if victim is None or victim.accuracy is None else f", accuracy {100 * victim.accuracy:.2f} %"
    who = f"{first['arch']}, {defense_text(first['defense'], first['temperature'])} ({first['model'][:6]})"
    return f"{first['dataset']}: {who}{known}, {images}"
