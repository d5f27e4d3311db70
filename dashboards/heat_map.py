"""The overview of a study: the ASR and the distance of every attack on every victim, as two heat maps."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import pandas as pd
from markupsafe import Markup

from eadbench.dashboards.rendering import render
from eadbench.dashboards.tiles import NO_TILE, tile_colours
from eadbench.harness.analysis.overview import meaning, overview
from eadbench.harness.analysis.summary import Summary
from eadbench.harness.labels import AXES, FIGURES
from eadbench.harness.numbers import counted, figure_text, parameter_text, rate_text
from eadbench.harness.reporting.tables.pages import MARK, case_name, missing_text

__all__ = ["overview_html"]

_COLOURS = "Brighter: a higher ASR; a distance nearer to the greatest of its attack, which resists it most."

_Entry = Mapping[Hashable, Any]
"""A line of :func:`harness.analysis.overview.overview`."""


@dataclass(frozen=True, kw_only=True)
class _Tile:
    """A figure with its colours, and the setting that it is of."""

    text: str
    background: str
    colour: str
    setting: str


@dataclass(frozen=True, kw_only=True)
class _Map:
    """A heat map: the heads of the columns (a label, and the figure), and the tiles of each victim by its label."""

    title: str
    heads: Sequence[tuple[str, str]]
    rows: Mapping[str, Sequence[_Tile | None]]


def overview_html(summary: Summary) -> Markup | None:
    """Return the victims × attacks heat maps with what they mean; None if the sweep attacks one victim only."""
    entries = overview(summary)
    if entries is None:
        return None
    farthest = entries.groupby("series")["distance"].max()
    attacks = entries.drop_duplicates("series")
    heads = [(line["label"], FIGURES[line["metric"]]) for line in attacks.to_dict("records")]
    maps = [
        _Map(
            title="ASR, %",
            heads=[(label, "") for label, _ in heads],
            rows=_rows(entries, lambda entry: (rate_text(entry["asr"]), entry["asr"] / 100)),
        ),
        _Map(
            title="Mean distance",
            heads=heads,
            rows=_rows(
                entries,
                lambda entry: (figure_text(entry["distance"]), entry["distance"] / farthest[entry["series"]]),
            ),
        ),
    ]
    text = f"{meaning(entries, case_name(summary.own))} {_COLOURS} {missing_text(entries)}".strip()
    return render("heat_map.html.j2", maps=maps, meaning=text)


def _rows(entries: pd.DataFrame, figure: Callable[[_Entry], tuple[str, float]]) -> Mapping[str, Sequence[_Tile | None]]:
    """Return the tiles of each victim, in the order of the attacks; None where the attack was not run on it."""
    series = dict.fromkeys(entries["series"])
    rows = {}
    for _, part in entries.groupby("model", sort=False):
        tiles = {entry["series"]: _tile(entry, *figure(entry)) for entry in part.to_dict("records")}
        rows[str(part["victim"].iloc[0])] = [tiles.get(name) for name in series]
    return rows


def _tile(entry: _Entry, text: str, share: float) -> _Tile:
    background, colour = NO_TILE if isnan(share) else tile_colours(share)
    values = [f"{AXES[name]} = {parameter_text(entry[name])}" for name in ("beta", "kappa") if not isnan(entry[name])]
    images = counted(entry["images"], "image")
    return _Tile(
        text=text + (MARK if entry["missing"] else ""),
        background=background,
        colour=colour,
        setting=", ".join([f"{entry['label']} on {entry['victim']}", *values, images]),
    )
