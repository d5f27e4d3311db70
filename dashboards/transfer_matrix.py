"""The transfer matrix as a table of coloured tiles: how often examples crafted on one victim fool another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan

from markupsafe import Markup
from matplotlib import colormaps
from matplotlib.colors import to_hex

from eadbench.dashboards.rendering import render
from eadbench.harness.analysis.transfer import entry_text

__all__ = ["matrix_html"]

_COLOURS = colormaps["cividis"]  # readable with any colour vision, and in grey
_BRIGHT = 0.55
"""Above this share of the colours, black text is easier to read than white."""


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
    share = 0.0 if isnan(rates[0]) else rates[0] / 100
    colour = "#000" if share > _BRIGHT else "#fff"
    return _Tile(rate=entry_text(*rates), background=to_hex(_COLOURS(share)), colour=colour, own=own)
