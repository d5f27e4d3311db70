"""The curves of the report in the page: SVG whose text is text, and whose black and white are the page's."""

import io
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from eadbench.dashboards.page.markup import Section, paragraph, plain, scrolling, within
from eadbench.harness.reporting import figures
from eadbench.harness.reporting.report import Found

__all__ = ["section"]

_SYMBOLS = {"beta": "β", "temperature": "T", "kappa": "κ"}
_SETTINGS: Any = {"svg.fonttype": "none", "svg.hashsalt": "eadbench"}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_COLOURS = {"#000000": "currentColor", "#ffffff": "var(--ground)", "#e6e6e6": "var(--rule)"}
_FONTS = re.compile(r"'DejaVu Sans'[^;\"]*sans-serif")
_STYLE = re.compile(r"<defs>\s*<style.*?</style>\s*</defs>", re.DOTALL)
_NAMES = re.compile(r'(?<= id=")|(?<=href="#)|(?<=url\(#)')
"""Where a name stands that must be one in the page."""
_CAPTION = "The average case. Bands are 95 % intervals, from a bootstrap over images."


def section(found: Found, *, room: int) -> Section | None:
    """As many of a summary's curves as `room` has bytes for; None where there is nothing to draw a curve over."""
    drawn = figures.draw(found.summary, found.victims)
    if not drawn:
        return None
    subjects = _subjects(drawn)
    pieces = ((heading, _figure(of, f"c{number}")) for number, (heading, of) in enumerate(subjects))
    shown = list(within(pieces, room))
    body = ""
    for heading, parts in groupby(shown, itemgetter(0)):
        body += f"<h3>{plain(heading)}</h3>{''.join(html for _, html in parts)}"
    left = len(subjects) - len(shown)
    cut = f" {left} of {len(subjects)} do not fit into this file: `eadbench report --figures`." if left else ""
    return Section(anchor="curves", title="Curves", body=body + paragraph(_CAPTION + cut, "note"))


def _subjects(drawn: Mapping[str, Figure]) -> list[tuple[str, list[Figure]]]:
    """The figures of the same lines side by side, under the name of their axis; in the order in which they come."""
    found: dict[tuple[str, str], list[Figure]] = {}
    for name, figure in drawn.items():
        quantity, _, subject = name.partition("_over_")
        where = ", on other victims" if quantity.startswith("transfer") else ""
        heading = f"Over {_SYMBOLS[subject.partition('-')[0]]}{where}"
        found.setdefault((heading, subject), []).append(figure)
    return [(heading, of) for (heading, _), of in found.items()]


def _figure(of: Sequence[Figure], prefix: str) -> str:
    """Figures of the same lines, with their title for a caption."""
    title = " ".join(of[0].get_suptitle().split())
    boxes = []
    for number, figure in enumerate(of):
        figure.suptitle("")
        said = _said(figure)
        boxes.append(scrolling(_svg(figure, f"{said}. {title}", f"{prefix}-{number}-"), said))
    return f'<figure class="curves"><figcaption>{plain(title)}</figcaption>{"".join(boxes)}</figure>'


def _said(figure: Figure) -> str:
    """What is drawn, for those who do not see it: ``ASR (%) over confidence κ, of C&W, EAD (EN)``."""
    panels = [f"{axes.get_ylabel()} {axes.get_title(loc='left')}".strip() for axes in figure.axes]
    series = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return " ".join(f"{', '.join(panels)} over {figure.axes[0].get_xlabel()}, of {', '.join(series)}".split())


def _svg(figure: Figure, said: str, prefix: str) -> str:
    """A figure as an <svg>, with `prefix` before every name in it."""
    content = io.StringIO()
    with mpl.rc_context(_SETTINGS):
        figure.savefig(content, format="svg", transparent=True, metadata=_NO_METADATA)
    _, _, drawn = content.getvalue().partition("<svg ")
    drawn = _NAMES.sub(prefix, _STYLE.sub("", _FONTS.sub("var(--sans)", drawn), count=1))
    for colour, own in _COLOURS.items():
        drawn = drawn.replace(colour, own)
    kind = ' class="alone"' if len(figure.axes) == 1 else ""
    return f'<svg{kind} role="img" aria-label="{plain(said)}" {drawn.strip()}'
