"""The summary of ``eadbench.harness.analysis.aggregate`` as tables laid out like the paper's table 8.

``terminal`` gives a rich renderable that fits a width; ``render`` gives CSV, Markdown or LaTeX text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd
from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from eadbench.harness.analysis.aggregate import ALL_TARGETS, CASES, FIGURES, GROUPS, INTERVALS, TIDY
from eadbench.harness.errors import UserError
from eadbench.harness.labels import NO_VALUE, defense_text, figure_text, parameter_text, rate_text
from eadbench.harness.plan.grid import Victim

CSV_COLUMNS = (*TIDY, *FIGURES, "images", *ALL_TARGETS, *INTERVALS, "model", "evaluated_on", "arch", "cell")
_HEADS = {"beta": "β", "kappa": "κ", "asr": "ASR", "l1": "L1", "l2": "L2", "linf": "L∞"}
_GROUP_HEADS = {case: f"{case} case" for case in CASES} | {"all_targets": "all targets"}
_LATEX = {"β": r"$\beta$", "κ": r"$\kappa$", "L1": "$L_1$", "L2": "$L_2$", "Linf": r"$L_\infty$"}
_LATEX_ESCAPES = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


class _Figure(NamedTuple):
    """A figure as printed, and whether it is the least of its column."""

    text: str
    best: bool


@dataclass(frozen=True, kw_only=True)
class _Line:
    """One line of a table: an attack, its parameters, and its figures by group."""

    attack: str
    parameters: tuple[str, ...]
    figures: dict[str, tuple[_Figure, ...]]


@dataclass(frozen=True, kw_only=True)
class _Page:
    """One table: one victim on one data set. ``parameters`` names the parameters that need a column."""

    title: str
    parameters: tuple[str, ...]
    lines: tuple[_Line, ...]


def render(summary: pd.DataFrame, format: str, victims: Sequence[Victim] = ()) -> str:
    """Render a summary as text.

    Parameters
    ----------
    summary
        From ``eadbench.harness.analysis.aggregate.summarise``.
    victims
        What the examples were tested on, for the titles of transfers.
    format
        ``csv`` (tidy, floats in full precision, nothing for a missing value), ``markdown`` (with the mean
        over all targets as a fourth group) or ``latex`` (needs the package booktabs).

    Raises
    ------
    UserError
        For any other format.
    """
    if format not in FORMATS:
        raise UserError(f"format: must be one of {', '.join(FORMATS)}, not {format!r}")
    return FORMATS[format](summary, victims)


def terminal(summary: pd.DataFrame, victims: Sequence[Victim] = (), *, width: int) -> Group:
    """Lay a summary out for a terminal of ``width`` columns; ``victims`` say what examples were tested on.

    Where it fits, the cases stand side by side as in the paper, with the mean over all targets if there is
    room still; in a narrow terminal, below each other.
    """
    unlimited = Console(width=10_000)
    parts: list[Text | Table] = []
    for page in _pages(summary, victims):
        choices = (_side_by_side(page, GROUPS), _side_by_side(page, CASES), _stacked(page))
        fitting = (table for table in choices if unlimited.measure(table).maximum <= width)
        parts += [Text(page.title, style="italic"), next(fitting, choices[-1]), Text()]
    return Group(*parts)


def _pages(summary: pd.DataFrame, victims: Sequence[Victim]) -> Iterator[_Page]:
    """Yield a page per table, data set and victim, in the summary's order."""
    names = {
        victim.digest: f"{defense_text(victim.defense, victim.temperature)} ({victim.digest})" for victim in victims
    }
    for _, part in summary.groupby(["table", "dataset", "model", "evaluated_on"], sort=False):
        parameters = tuple(name for name in ("beta", "kappa") if part[name].notna().any())
        cells = {case: part[part["case"] == case] for case in CASES}
        figures = {case: _figures(cells[case][list(FIGURES)]) for case in CASES}
        figures["all_targets"] = _figures(cells["best"][list(ALL_TARGETS)].set_axis(list(FIGURES), axis=1))
        lines = tuple(
            _Line(
                attack=f"{attack} ({rule})" if rule else str(attack),
                parameters=tuple(map(parameter_text, values)),
                figures={group: figures[group][index] for group in GROUPS},
            )
            for index, (attack, rule, *values) in enumerate(
                cells["best"][["attack", "decision_rule", *parameters]].to_numpy().tolist()
            )
        )
        yield _Page(title=_title(part, names), parameters=parameters, lines=lines)


def _title(part: pd.DataFrame, names: Mapping[str, str]) -> str:
    """Say what was attacked: data set, architecture, defence, temperature, images, the victim's digest."""
    first = part.iloc[0]
    table = str(first["table"])
    table = f"Table {table}: " if table.isdigit() else f"{table}: " if table else ""
    defense = defense_text(first["defense"], first["temperature"])
    least, most = part["images"].min(), part["images"].max()
    images = f"{most} image{'' if most == 1 else 's'}" if least == most else f"{least} to {most} images"
    victim, tested = first["model"], first["evaluated_on"]
    where = f"victim {victim}" if tested == victim else f"crafted on {victim}, tested on {names.get(tested, tested)}"
    return f"{table}{first['dataset']}, {first['arch']}, {defense}, {images}, {where}"


def _figures(figures: pd.DataFrame) -> list[tuple[_Figure, ...]]:
    """Format the lines of a group, marking in every column the least distortion of the lines of highest ASR.

    A line that succeeds less often has its mean over easier images, so it does not compete. What prints the
    same as the least is marked too; a single line, having no rival, is not.
    """
    columns = [[_Figure(rate_text(value), False) for value in figures["asr"]]]
    top = (figures["asr"] == figures["asr"].max()) & (len(figures) > 1)
    for name in FIGURES[1:]:
        least = figure_text(figures.loc[top, name].min())
        texts = (figure_text(value) for value in figures[name])
        marks = zip(texts, top & (least != NO_VALUE), strict=True)
        columns.append([_Figure(text, high and text == least) for text, high in marks])
    return list(zip(*columns, strict=True))


def _side_by_side(page: _Page, groups: Sequence[str]) -> Table:
    """One line per attack; each group is a table of its own, which gives it its heading and rule."""
    labels = _table("attack", *(_HEADS[name] for name in page.parameters), title=" ")
    for line in page.lines:
        labels.add_row(Text(line.attack), *line.parameters)
    tables = [labels]
    for group in groups:
        tables.append(_table(*(_HEADS[figure] for figure in FIGURES), title=_GROUP_HEADS[group]))
        for line in page.lines:
            tables[-1].add_row(*_cells(line, group))
    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_row(*tables)
    return grid


def _stacked(page: _Page) -> Table:
    """One line per attack and case, for narrow terminals."""
    table = _table("attack", "case", *(_HEADS[name] for name in (*page.parameters, *FIGURES)))
    for line in page.lines:
        for case in CASES:
            labels = [line.attack, case, *line.parameters]
            if case != CASES[0]:
                labels = [label if label == case else "" for label in labels]
            table.add_row(*map(Text, labels), *_cells(line, case), end_section=case == CASES[-1])
    return table


def _table(*heads: str, title: str | None = None) -> Table:
    table = Table(title=title, title_style="", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.padding = (0, 1, 0, 0)
    for head in heads:
        table.add_column(head, justify="left" if head in ("attack", "case") else "right", no_wrap=True)
    return table


def _cells(line: _Line, group: str) -> list[Text]:
    return [Text(figure.text, style="bold" if figure.best else "") for figure in line.figures[group]]


def _marked(line: _Line, groups: Sequence[str], mark: str) -> list[str]:
    """Figures of the groups in one row, the best in ``mark``."""
    figures = (figure for group in groups for figure in line.figures[group])
    return [mark.format(figure.text) if figure.best else figure.text for figure in figures]


def _csv(summary: pd.DataFrame, _: Sequence[Victim]) -> str:
    return str(summary[list(CSV_COLUMNS)].to_csv(index=False, lineterminator="\n"))


def _markdown(summary: pd.DataFrame, victims: Sequence[Victim]) -> str:
    return "\n".join(_markdown_page(page) for page in _pages(summary, victims))


def _markdown_page(page: _Page) -> str:
    heads = ["attack", *(_HEADS[name] for name in page.parameters)]
    for group in GROUPS:
        # Markdown has no heading over several columns: the first of a group carries its name.
        heads += [f"{_GROUP_HEADS[group]}: ASR", *(_HEADS[figure] for figure in FIGURES[1:])]
    rows = [heads, [":--", *["--:"] * (len(heads) - 1)]]
    for line in page.lines:
        rows.append([_markdown_escape(line.attack), *line.parameters, *_marked(line, GROUPS, "**{}**")])
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return f"**{_markdown_escape(page.title)}**\n\n{table}"


def _markdown_escape(text: str) -> str:
    return re.sub(r"([\\|*<`\[])", r"\\\1", text)


def _latex(summary: pd.DataFrame, victims: Sequence[Victim]) -> str:
    return "% needs \\usepackage{booktabs}\n" + "\n".join(_latex_page(page) for page in _pages(summary, victims))


def _latex_page(page: _Page) -> str:
    labels, each = 1 + len(page.parameters), len(FIGURES)
    spans = [rf"\multicolumn{{{each}}}{{c}}{{{_GROUP_HEADS[case].capitalize()}}}" for case in CASES]
    edges = [(labels + each * index + 1, labels + each * (index + 1)) for index in range(len(CASES))]
    heads = ["Attack", *(_latex_symbols(_HEADS[name]) for name in (*page.parameters, *FIGURES * len(CASES)))]
    rows = []
    for line in page.lines:
        attack = _latex_symbols(_latex_escape(line.attack))
        figures = [text.replace(NO_VALUE, "N.A.") for text in _marked(line, CASES, r"\textbf{{{}}}")]
        rows.append([attack, *map(_latex_power, line.parameters), *figures])
    lines = [
        r"\begin{table}[htbp]",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{_latex_escape(page.title)}. ASR in percent.}}",
        rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
        r"\toprule",
        rf"{'& ' * labels}{' & '.join(spans)} \\",
        "".join(rf"\cmidrule(lr){{{first}-{last}}}" for first, last in edges),
        rf"{' & '.join(heads)} \\",
        r"\midrule",
        *(rf"{' & '.join(row)} \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_escape(text: str) -> str:
    return "".join(_LATEX_ESCAPES.get(character, character) for character in text)


def _latex_symbols(text: str) -> str:
    """Set Greek letters and norms (``FGM-L1``, ``EAD (L1)``) as mathematics."""
    return re.sub(r"β|κ|\bL(1|2|inf)\b", lambda found: _LATEX[found[0]], text.replace("∞", "inf"))


def _latex_power(text: str) -> str:
    """Set 1e-3 and 5e-5 as powers of ten."""
    mantissa, power, exponent = text.partition("e")
    factor = "" if mantissa == "1" else rf"{mantissa}\cdot "
    return f"${factor}10^{{{int(exponent)}}}$" if power else text


FORMATS: dict[str, Callable[[pd.DataFrame, Sequence[Victim]], str]] = {
    "csv": _csv,
    "markdown": _markdown,
    "latex": _latex,
}
