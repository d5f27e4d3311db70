"""One table of colours, dashes and marks, for matplotlib and Altair alike.

A series takes its colour from its attack, and its dash and mark from its decision rule or norm. Where two series of a
sweep would look alike, the second takes the next dash and mark. Where several victims are drawn over each other, the
dash and the mark are the victim's.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, groupby, product
from typing import Any

import pandas as pd

from eadbench.harness.registry import ATTACKS

__all__ = ["Style", "styles", "styles_by_victim"]

_RULE_COLOURS: Mapping[tuple[str, str | None], str] = {("ead", "l1"): "#E0A000"}
"""The colour of a decision rule that is not its attack's."""
_OTHER_COLOURS = ("#808080", "#B8A000", "#9B6A3C", "#7A5CC0")
"""The colours of attacks that have none of their own, in the order in which a sweep has them."""

_MATPLOTLIB_DASHES = {"solid": "-", "dashed": "--", "dash-dotted": "-.", "dotted": ":"}
_MATPLOTLIB_MARKS = {"circle": "o", "square": "s", "triangle": "^", "diamond": "D", "inverted triangle": "v"}
_ALTAIR_DASHES = {"solid": [1, 0], "dashed": [6, 3], "dash-dotted": [8, 3, 2, 3], "dotted": [2, 2]}
_ALTAIR_MARKS = {
    "circle": "circle",
    "square": "square",
    "triangle": "triangle-up",
    "diamond": "diamond",
    "inverted triangle": "triangle-down",
}
_VARIANTS = {
    None: ("solid", "circle"),
    "en": ("solid", "circle"),
    "l0": ("solid", "inverted triangle"),
    "l1": ("dashed", "square"),
    "l2": ("dash-dotted", "triangle"),
    "linf": ("dotted", "diamond"),
}
"""Dash and mark by decision rule or norm."""


@dataclass(frozen=True)
class Style:
    """How a series is drawn."""

    colour: str
    dash: str
    mark: str

    @property
    def matplotlib(self) -> dict[str, Any]:
        """The arguments of matplotlib's `plot`."""
        return {
            "color": self.colour,
            "linestyle": _MATPLOTLIB_DASHES[self.dash],
            "marker": _MATPLOTLIB_MARKS[self.mark],
        }

    @property
    def altair(self) -> tuple[str, list[int], str]:
        """Colour, stroke dash and shape for Altair."""
        return self.colour, _ALTAIR_DASHES[self.dash], _ALTAIR_MARKS[self.mark]


def styles(lines: pd.DataFrame) -> Mapping[str, Style]:
    """Return the style of every series of lines of a summary (columns series, attack, norm, decision_rule)."""
    others: dict[str, str] = {}
    drawn: dict[str, Style] = {}
    for line in lines.drop_duplicates("series").to_dict("records"):
        attack = str(line["attack"])
        rule, norm = (None if pd.isna(line[name]) else str(line[name]) for name in ("decision_rule", "norm"))
        colour = _RULE_COLOURS.get((attack, rule)) or ATTACKS.colour(attack)
        colour = colour or others.setdefault(attack, _OTHER_COLOURS[len(others) % len(_OTHER_COLOURS)])
        first = Style(colour, *_VARIANTS.get(rule or norm, ("solid", "inverted triangle")))
        drawn[line["series"]] = _free(first, drawn.values())
    return drawn


def _free(first: Style, drawn: Collection[Style]) -> Style:
    """Return the first style that is not drawn: if possible, with a mark and a dash that its colour does not have yet.

    A legend of the explorer shows colours and marks alone.
    """
    marks, dashes = ({(style.colour, getattr(style, name)) for style in drawn} for name in ("mark", "dash"))
    for _, group in groupby(_tries(first), key=lambda style: style.colour):
        styles = [style for style in group if style not in drawn]
        new_marks = [style for style in styles if (style.colour, style.mark) not in marks]
        new_both = [style for style in new_marks if (style.colour, style.dash) not in dashes]
        if best := new_both or new_marks or styles:
            return best[0]
    return first


def styles_by_victim(lines: pd.DataFrame, victims: Sequence[str]) -> Mapping[tuple[str, str], Style]:
    """Return the style of every series on each of some victims; of one victim, those of :func:`styles`."""
    by_series = styles(lines)
    if len(victims) == 1:
        return {(series, victims[0]): style for series, style in by_series.items()}
    drawn: dict[tuple[str, str], Style] = {}
    marks = list(_MATPLOTLIB_MARKS)
    for series, style in by_series.items():
        for number, (victim, dash) in enumerate(zip(victims, cycle(_MATPLOTLIB_DASHES), strict=False)):
            own = marks[number % len(marks) :] + marks[: number % len(marks)]
            wanted = [replace(style, dash=dash, mark=mark) for mark in own]
            free = (style for style in (*wanted, *_tries(wanted[0])) if style not in drawn.values())
            drawn[series, victim] = next(free, wanted[0])
    return drawn


def _tries(first: Style) -> Iterator[Style]:
    """Yield the style, the others of its colour, and then those of the colours that no built-in attack has."""
    yield first
    for colour, mark, dash in product((first.colour, *_OTHER_COLOURS), _MATPLOTLIB_MARKS, _MATPLOTLIB_DASHES):
        yield Style(colour, dash, mark)
