"""Our figures beside the paper's.

``compare`` finds the settings that a summary and the paper share; ``render`` and ``terminal`` lay them out, one
block for each of the paper's tables.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from eadbench.harness.analysis.aggregate import CASES, FIGURES
from eadbench.harness.errors import UserError
from eadbench.harness.labels import NO_VALUE, figure_text, parameter_text, rate_text
from eadbench.harness.paper.published import SETTING, TITLES, published, same_setting, training_parts
from eadbench.harness.plan.grid import Victim

PARTS = ("ours", "ours_lo", "ours_hi", "paper", "ratio")
COMPARED = tuple(f"{figure}_{part}" for figure in FIGURES for part in PARTS)
COLUMNS = ("table", *SETTING, "model", "evaluated_on", "arch", "cell", "images", *COMPARED)
FORMATS = ("csv", "markdown")

_ATTACKS = ("C&W", "FGM-L1", "FGM-L2", "FGM-Linf", "I-FGM-L1", "I-FGM-L2", "I-FGM-Linf", "COV", "EAD")
_HEADS = dict(zip(FIGURES, ("ASR", "L1", "L2", "L∞"), strict=True))


@dataclass(frozen=True, kw_only=True)
class _Block:
    """One of the paper's tables: what varies in it is in `labels`, what does not is in its title.

    `figures` is, by line and figure: ours, its interval or nothing, the paper's, and their ratio.
    """

    title: str
    heads: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    figures: tuple[tuple[tuple[str, str, str, str], ...], ...]


def compare(summary: pd.DataFrame, victims: Sequence[Victim]) -> pd.DataFrame:
    """Put the paper's figures beside ours, where both have the setting and case.

    Two of our victims that answer to one line of the paper (two undefended networks) make a line each. Examples
    crafted on one victim and tested on another stand beside table 13 where that is what it measured.

    Parameters
    ----------
    summary
        From ``eadbench.harness.analysis.aggregate.summarise``, of targeted attacks: the paper's are.
    victims
        Those of the summary's ``model`` and ``evaluated_on``; several sweeps' may be concatenated.

    Returns
    -------
    DataFrame with the columns ``COLUMNS``, in the order of the paper's tables: the setting as the paper has it, then
    for each of ``FIGURES`` ours with its 95 % interval, the paper's, and their ratio (NaN where the paper's is 0 or
    "N.A.").
    """
    ours = _as_the_paper_has_it(summary, victims)
    paper = published()
    left = paper.assign(key=same_setting(paper), place=range(len(paper)))
    right = ours.assign(key=same_setting(ours)).drop(columns=["table", *SETTING])
    both = left.merge(right, on="key", suffixes=("_paper", "_ours")).sort_values("place", kind="stable")
    for figure in FIGURES:
        for end in ("lo", "hi"):
            both[f"{figure}_ours_{end}"] = both[f"{figure}_{end}"]
        known = both[f"{figure}_paper"].where(both[f"{figure}_paper"] != 0)
        both[f"{figure}_ratio"] = both[f"{figure}_ours"] / known
    return both[list(COLUMNS)].reset_index(drop=True)


def render(compared: pd.DataFrame, format: str, *, cases: Sequence[str] = CASES) -> str:
    """Render a comparison as text.

    Parameters
    ----------
    compared
        From :func:`compare`.
    format
        ``csv`` (every column, floats in full precision) or ``markdown``.
    cases
        The cases that are shown.

    Raises
    ------
    UserError
        For any other format or case.
    """
    if format not in FORMATS:
        raise UserError(f"format: must be one of {', '.join(FORMATS)}, not {format!r}")
    shown = _of_cases(compared, cases)
    if format == "csv":
        return str(shown.to_csv(index=False, lineterminator="\n"))
    return "\n".join(map(_markdown, _blocks(shown)))


def terminal(compared: pd.DataFrame, width: int, *, cases: Sequence[str] = CASES) -> Group:
    """Lay a comparison out for a terminal of ``width`` columns.

    The figures stand side by side, with their intervals if there is room; in a narrow terminal, below each other.

    Raises
    ------
    UserError
        For an unknown case.
    """
    unlimited = Console(width=10_000)
    parts: list[Text | Table] = []
    for block in _blocks(_of_cases(compared, cases)):
        choices = (_side_by_side(block, intervals=True), _side_by_side(block, intervals=False), _stacked(block))
        fitting = (table for table in choices if unlimited.measure(table).maximum <= width)
        parts += [Text(block.title, style="italic"), next(fitting, choices[-1]), Text()]
    return Group(*parts)


def _as_the_paper_has_it(summary: pd.DataFrame, victims: Sequence[Victim]) -> pd.DataFrame:
    """The summary's lines with table 13's name for a transfer; without transfers to a victim that is not known."""
    known = {victim.digest: victim for victim in victims}
    transfer = summary["evaluated_on"] != summary["model"]
    ours = summary[~transfer | summary["evaluated_on"].isin(known)].copy()
    for index in ours.index[transfer[ours.index]]:
        to = known[str(ours.at[index, "evaluated_on"])]
        ours.at[index, "defense"] = f"transfer: {ours.at[index, 'defense']!s} -> {to.defense}"
        ours.at[index, "temperature"] = math.nan if to.temperature is None else to.temperature
    return ours


def _of_cases(compared: pd.DataFrame, cases: Sequence[str]) -> pd.DataFrame:
    unknown = [case for case in cases if case not in CASES]
    if unknown or not cases:
        raise UserError(f"cases: must be of {', '.join(CASES)}, not {', '.join(unknown) or 'none of them'}")
    return compared[compared["case"].isin(cases)]


def _blocks(compared: pd.DataFrame) -> Iterator[_Block]:
    """Yield a block for each of the paper's tables that has a line; a line is in every table that prints it."""
    tables = [set(map(int, printed.split(", "))) for printed in compared["table"]]
    for table, title in TITLES.items():
        part = compared[[table in printed for printed in tables]]
        if len(part):
            ranked = part.assign(rank=part["attack"].map(_ATTACKS.index))
            order = ["rank", "decision_rule", "beta", "kappa"]
            yield _block(f"Table {table}: {title}", ranked.sort_values(order, kind="stable"))


def _block(title: str, part: pd.DataFrame) -> _Block:
    names = [
        f"{attack} ({rule})" if rule else str(attack)
        for attack, rule in zip(part["attack"], part["decision_rule"], strict=True)
    ]
    columns = {"attack": names}
    parts = [title, str(part["dataset"].iloc[0])]
    for head, texts in _varying(part).items():
        if len(set(texts) - {""}) > 1:
            columns[head] = texts
        else:
            parts += [text if head in ("defence", "case") else f"{head} = {text}" for text in set(texts) - {""}]
    least, most = part["images"].min(), part["images"].max()
    parts.append(f"{most} images" if least == most else f"{least} to {most} images")
    return _Block(
        title=", ".join(parts),
        heads=tuple(columns),
        labels=tuple(zip(*columns.values(), strict=True)),
        figures=tuple(zip(*(_texts(part, figure) for figure in FIGURES), strict=True)),
    )


def _varying(part: pd.DataFrame) -> dict[str, list[str]]:
    """By heading, the texts of what may vary within a table; a victim is named where its defence does not tell it."""
    defenses = list(map(_defense_text, part["defense"], part["temperature"]))
    texts = {"defence": defenses}
    texts |= {head: list(map(parameter_text, part[name])) for head, name in (("β", "beta"), ("κ", "kappa"))}
    cases = [str(case) for case in part["case"]]
    texts["case"] = cases if len(set(cases)) > 1 else [f"{case} case" for case in cases]
    pairs = [(model[:8], tested[:8]) for model, tested in zip(part["model"], part["evaluated_on"], strict=True)]
    if len(set(pairs)) > len(set(defenses)):
        texts["victim"] = [one if one == other else f"{one} → {other}" for one, other in pairs]
    return texts


def _defense_text(label: str, temperature: float) -> str:
    if training_parts(label):
        return label.partition(": ")[2]
    return label.replace("none", "no defence") if np.isnan(temperature) else f"T = {temperature:g}"


def _texts(part: pd.DataFrame, figure: str) -> list[tuple[str, str, str, str]]:
    of = rate_text if figure == "asr" else figure_text
    values = part[[f"{figure}_{name}" for name in PARTS]].to_numpy(dtype=np.float64)
    return [
        (
            NO_VALUE if np.isnan(ours) else of(ours),
            "" if np.isnan(low) else f"[{of(low)}, {of(high)}]",
            NO_VALUE if np.isnan(paper) else of(paper),
            NO_VALUE if np.isnan(ratio) else f"{ratio:.2f}",
        )
        for ours, low, high, paper, ratio in values
    ]


def _markdown(block: _Block) -> str:
    heads = [*block.heads]
    for figure in FIGURES:
        heads += [f"{_HEADS[figure]}: ours", "paper", "ratio"]
    rows = [heads, [":--"] * len(block.heads) + ["--:"] * (len(heads) - len(block.heads))]
    for labels, figures in zip(block.labels, block.figures, strict=True):
        cells = [text for ours, interval, *rest in figures for text in (f"{ours} {interval}".strip(), *rest)]
        rows.append([*labels, *cells])
    return f"**{block.title}**\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _side_by_side(block: _Block, *, intervals: bool) -> Table:
    """One line per line of the paper's; each figure is a table of its own, which gives it its heading and rule."""
    tables = [_table(*block.heads, title=" ", left=len(block.heads))]
    for labels in block.labels:
        tables[0].add_row(*map(Text, labels))
    for index, figure in enumerate(FIGURES):
        tables.append(_table("ours", *([""] if intervals else []), "paper", "ratio", title=_HEADS[figure]))
        for figures in block.figures:
            ours, interval, paper, ratio = figures[index]
            tables[-1].add_row(ours, *([Text(interval, style="dim")] if intervals else []), paper, ratio)
    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_row(*tables)
    return grid


def _stacked(block: _Block) -> Table:
    """One line per line of the paper's and figure, for narrow terminals."""
    table = _table(*block.heads, "", "ours", "", "paper", "ratio", left=len(block.heads) + 1)
    for labels, figures in zip(block.labels, block.figures, strict=True):
        for index, (figure, (ours, interval, paper, ratio)) in enumerate(zip(FIGURES, figures, strict=True)):
            names = map(Text, labels) if index == 0 else [""] * len(labels)
            last = index == len(FIGURES) - 1
            table.add_row(*names, _HEADS[figure], ours, Text(interval, style="dim"), paper, ratio, end_section=last)
    return table


def _table(*heads: str, title: str | None = None, left: int = 0) -> Table:
    table = Table(title=title, title_style="", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.padding = (0, 1, 0, 0)
    for index, head in enumerate(heads):
        table.add_column(head, justify="left" if index < left else "right", no_wrap=True)
    return table
