"""How attacks are told apart in charts: a colour for the attack, and dashes and a marker for the rule or the norm."""

import re
from collections.abc import Sequence
from typing import Any

import altair as alt

__all__ = ["LEGEND_COLUMNS", "encodings", "styles"]

LEGEND_COLUMNS = 3

# Okabe and Ito's palette, told apart with any colour vision, as in harness.figures.
_COLOURS = {
    "EAD": "#D55E00",
    "EAD L1": "#E69F00",
    "C&W": "#0072B2",
    "COV": "#009E73",
    "I-FGM": "#CC79A7",
    "FGM": "#56B4E9",
}
_OTHERS = ("#808080", "#B8A000", "#9B6A3C", "#7A5CC0")
_SOLID = [1, 0]
_MARKS: dict[str, tuple[list[int], str]] = {
    "": (_SOLID, "circle"),
    "EN": (_SOLID, "circle"),
    "L1": ([6, 3], "square"),
    "L2": ([8, 3, 2, 3], "triangle-up"),
    "Linf": ([2, 2], "diamond"),
}
_OTHER_MARK = (_SOLID, "triangle-down")

Style = tuple[str, list[int], str]
"""Colour, dashes, marker."""


def styles(names: Sequence[str]) -> dict[str, Style]:
    """The style of every series, such as ``EAD (L1)`` and ``I-FGM-Linf``; unknown attacks get what is left."""
    found: dict[str, Style] = {}
    others: dict[str, str] = {}
    for name in names:
        parts = re.fullmatch(r"(?P<attack>.+?)(?:-(?P<norm>L1|L2|Linf))?(?: \((?P<rule>.+)\))?", name)
        assert parts is not None
        attack, variant = parts["attack"], parts["rule"] or parts["norm"] or ""
        colour = _COLOURS.get(f"{attack} {variant}") or _COLOURS.get(attack)
        colour = colour or others.setdefault(attack, _OTHERS[len(others) % len(_OTHERS)])
        found[name] = (colour, *_MARKS.get(variant, _OTHER_MARK))
    return found


def encodings(names: Sequence[str]) -> dict[str, Any]:
    """The channels by which the field `series` is told apart; `dashes` must hold the same texts."""
    shown = styles(names)
    legend = alt.Legend(
        title=None, orient="bottom", columns=LEGEND_COLUMNS, symbolSize=90, symbolOpacity=1, labelLimit=220
    )

    def scale(part: int) -> alt.Scale:
        return alt.Scale(domain=list(shown), range=[style[part] for style in shown.values()])

    return {
        "color": alt.Color("series:N", scale=scale(0), legend=legend),
        "strokeDash": alt.StrokeDash("dashes:N", scale=scale(1), legend=None),
        "shape": alt.Shape("series:N", scale=scale(2), legend=legend),
    }
