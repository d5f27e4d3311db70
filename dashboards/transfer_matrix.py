"""The transfer matrix as a table of coloured tiles: how often examples crafted on one victim fool another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan

from markupsafe import Markup

from eadbench.dashboards.rendering import render
from eadbench.dashboards.tiles import tile_colours
from eadbench.harness.analysis.transfer import entry_text

__all__ = ["matrix_html"]


@dataclass(frozen=True, kw_only=True)
class _Tile:
    """A rate with its colours; `own` where the victim tested on is the one that examples were crafted on."""

    rate: str
    background: str
    colour: str
    own: bool


@dataclass(frozen=True, kw_only=True)
class _Row:
    """The rates of one source, by target; None where it was not tested."""

    source: str
    tiles: Sequence[_Tile | None]


def matrix_html(
    rates: Mapping[tuple[str, str], tuple[float, float]],
    sources: Mapping[str, str],
    targets: Mapping[str, str],
    *,
    aria_label: str,
) -> Markup:
    """Return the matrix as HTML.

    Parameters
    ----------
    rates
        ASR in percent, and that on all images, by the digests of the victims crafted on and tested on; a missing pair
        has an empty tile.
    sources, targets
        The labels of the victims by digest, in the order of the rows and of the columns.
    aria_label
        The table's name for screen readers.
    """
    rows = [
        _Row(
            source=label,
            tiles=[_tile(rates.get((source, target)), own=source == target) for target in targets],
        )
        for source, label in sources.items()
    ]
    return render("transfer_matrix.html.j2", rows=rows, targets=[*targets.values()], aria_label=aria_label)


def _tile(rates: tuple[float, float] | None, *, own: bool) -> _Tile | None:
    if rates is None:
        return None
    background, colour = tile_colours(0.0 if isnan(rates[0]) else rates[0] / 100)
    return _Tile(rate=entry_text(*rates), background=background, colour=colour, own=own)
