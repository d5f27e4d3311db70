"""The overview of a study: how each attack does on each victim, before the tables of each victim."""

import pandas as pd
from rich.console import Console, Group

from eadbench.harness.analysis.overview import entry_text, meaning, overview
from eadbench.harness.analysis.summary import Summary
from eadbench.harness.reporting.tables import grid
from eadbench.harness.reporting.tables.grid import Grid
from eadbench.harness.reporting.tables.pages import Figure

__all__ = ["terminal", "text"]

TITLE = "Overview: victims and attacks"


def terminal(summary: Summary, *, width: int) -> Group | None:
    """Render the overview for a terminal; None if the sweep attacks one victim only.

    Victims are lines and attacks columns, or the other way round where that fits and this does not.
    """
    entries = overview(summary)
    if entries is None:
        return None
    by_victim = _grid(entries)
    unlimited = Console(width=10_000)
    choices = [grid.terminal(each) for each in (by_victim, by_victim.transposed("attack"), _listed(entries))]
    fitting = (table for table in choices if unlimited.measure(table.renderables[1]).maximum <= width)
    return next(fitting, choices[-1])


def text(summary: Summary, format: str) -> str:
    """Render the overview as ``markdown`` or ``latex``; empty if the sweep attacks one victim only."""
    entries = overview(summary)
    return "" if entries is None else grid.text(_grid(entries), format) + "\n"


def _grid(entries: pd.DataFrame) -> Grid:
    """Return a line per victim, and a column per attack."""
    texts = {
        (line["model"], line["series"]): entry_text(line["asr"], line["distance"])
        for line in entries.to_dict("records")
    }
    victims = entries.drop_duplicates("model")
    attacks = entries.drop_duplicates("series")
    lines = [
        [Figure(name, False), *(Figure(texts.get((model, series), ""), False) for series in attacks["series"])]
        for model, name in zip(victims["model"], victims["victim"], strict=True)
    ]
    return Grid(title=TITLE, heads=["victim", *attacks["label"]], lines=lines, notes=[meaning(entries)])


def _listed(entries: pd.DataFrame) -> Grid:
    """Return a line per victim and attack, for narrow terminals."""
    lines = [
        [Figure(text, False) for text in (line["victim"], line["label"], entry_text(line["asr"], line["distance"]))]
        for line in entries.to_dict("records")
    ]
    return Grid(title=TITLE, heads=["victim", "attack", "ASR · distance"], lines=lines, notes=[meaning(entries)])
