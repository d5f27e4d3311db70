"""Tables of a summary in Markdown."""

import re
from collections.abc import Sequence

import pandas as pd

from eadbench.harness.analysis.aggregate import FIGURES
from eadbench.harness.plan.grid import Victim
from eadbench.harness.reporting.tables.pages import HEADS, Page, pages

__all__ = ["escape", "render_markdown"]


def render_markdown(summary: pd.DataFrame, victims: Sequence[Victim]) -> str:
    """Render a summary in Markdown, with the mean over all targets as a fourth group."""
    return "\n".join(_table(page) for page in pages(summary, victims))


def _table(page: Page) -> str:
    heads = ["attack", *(HEADS.get(name, name) for name in page.parameters)]
    for head in page.heads.values():
        # Markdown has no heading over several columns: the first column of a group carries its name.
        heads += [f"{head}: ASR", *(HEADS[figure] for figure in FIGURES[1:])]
    rows = [heads, [":--", *["--:"] * (len(heads) - 1)]]
    for line in page.lines:
        rows.append([escape(line.attack), *line.parameters, *line.texts(list(page.heads), "**{}**")])
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    notes = "".join(f"\n{escape(note)}\n" for note in page.notes)
    return f"**{escape(page.title)}**\n\n{table}{notes}"


def escape(text: str) -> str:
    """Return a text with Markdown's special characters escaped."""
    return re.sub(r"([\\|*<`\[])", r"\\\1", text)
