"""The curves of the report as SVG. Text stays text, and black and white follow the page's theme."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from eadbench.dashboards.page.section import Section, fitting
from eadbench.dashboards.rendering import render
from eadbench.harness.analysis.summary import Summary
from eadbench.harness.labels import AXES
from eadbench.harness.paper.comparison import paper_figures
from eadbench.harness.reporting import figures
from eadbench.harness.reporting.tables.pages import case_name

__all__ = ["figure_html", "section"]

_SETTINGS: Any = {"svg.fonttype": "none", "svg.hashsalt": "eadbench"}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_COLOURS = {"#000000": "currentColor", "#ffffff": "var(--ground)", "#e6e6e6": "var(--rule)"}
_FONTS = re.compile(r"'DejaVu Sans'[^;\"]*sans-serif")
_STYLE = re.compile(r"<defs>\s*<style.*?</style>\s*</defs>", re.DOTALL)
_IDS = re.compile(r'(?<= id=")|(?<=href="#)|(?<=url\(#)')
"""The places of names that must be unique in the page."""


@dataclass(frozen=True, kw_only=True)
class _Drawing:
    """A figure as SVG, from its attributes to its closing tag."""

    svg: Markup
    aria_label: str
    single: bool
    """Whether it has one panel, which shrinks with the page."""


def section(summary: Summary, *, room: int) -> Section | None:
    """Return the curves that fit into `room` bytes; None if no axis has two values."""
    drawn = figures.draw(summary.lines, summary.victims, paper=paper_figures(summary.lines, summary.victims))
    if not drawn:
        return None
    subjects = _subjects(drawn)
    pieces = ((heading, figure_html(beside, f"c{number}")) for number, (heading, beside) in enumerate(subjects))
    groups: dict[str, list[Markup]] = {}
    for heading, html in fitting(pieces, room):
        groups.setdefault(heading, []).append(html)
    shown = sum(map(len, groups.values()))
    body = render(
        "curves.html.j2",
        groups=groups,
        total=len(subjects),
        left_out=len(subjects) - shown,
        case=case_name(summary.lines),
    )
    return Section(anchor="curves", title="Curves", body=body)


def _subjects(drawn: Mapping[str, Figure]) -> list[tuple[str, list[Figure]]]:
    """Group the figures of the same lines under the heading of their axis, in their order."""
    subjects: dict[tuple[str, str], list[Figure]] = {}
    for name, figure in drawn.items():
        quantity, _, subject = name.partition("_over_")
        where = ", on other victims" if quantity.startswith("transfer") else ""
        heading = f"Over {AXES[subject.partition('-')[0]]}{where}"
        subjects.setdefault((heading, subject), []).append(figure)
    return [(heading, beside) for (heading, _), beside in subjects.items()]


def figure_html(beside: Sequence[Figure], prefix: str) -> Markup:
    """Return figures of the same lines side by side, with their title as the caption."""
    title = " ".join(beside[0].get_suptitle().split())
    drawings = [_drawing(figure, f"{prefix}-{number}-") for number, figure in enumerate(beside)]
    return render("curve.html.j2", title=title, drawings=drawings)


def _drawing(figure: Figure, prefix: str) -> _Drawing:
    figure.suptitle("")
    aria_label = _aria_label(figure)
    return _Drawing(svg=_svg(figure, prefix), aria_label=aria_label, single=len(figure.axes) == 1)


def _aria_label(figure: Figure) -> str:
    """Say what a figure shows: ``ASR (%) over confidence κ, of C&W, EAD (EN)``."""
    panels = [f"{axes.get_ylabel()} {axes.get_title(loc='left')}".strip() for axes in figure.axes]
    series = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return " ".join(f"{', '.join(panels)} over {figure.axes[0].get_xlabel()}, of {', '.join(series)}".split())


def _svg(figure: Figure, prefix: str) -> Markup:
    """Return a figure's SVG after ``<svg``, with `prefix` before every name in it.

    This is Markup: matplotlib drew it, and escaped the labels in it.
    """
    content = io.StringIO()
    with mpl.rc_context(_SETTINGS):
        figure.savefig(content, format="svg", transparent=True, metadata=_NO_METADATA)
    _, _, svg = content.getvalue().partition("<svg ")
    svg = _IDS.sub(prefix, _STYLE.sub("", _FONTS.sub("var(--sans)", svg), count=1))
    for colour, variable in _COLOURS.items():
        svg = svg.replace(colour, variable)
    return Markup(svg.strip())
