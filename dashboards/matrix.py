"""How often examples crafted on one victim fool another, as a table of coloured tiles."""

from collections.abc import Mapping, Sequence
from html import escape

from matplotlib import colormaps
from matplotlib.colors import to_hex

from eadbench.harness.labels import rate_text

__all__ = ["matrix_html"]

_COLOURS = colormaps["cividis"]  # told apart with any colour vision, and in grey
_BRIGHT = 0.55
"""The share of the colours from which on black is read better than white."""


def matrix_html(
    rates: Mapping[tuple[str, str], float], sources: Sequence[str], targets: Sequence[str], *, said: str
) -> str:
    """The matrix.

    Parameters
    ----------
    rates
        ASR in percent, by the victims crafted on and tested on; a pair that is not there has an empty tile.
    sources, targets
        The victims, in the order of the rows and of the columns.
    said
        What the table is called.
    """
    heads = "".join(f'<th scope="col">{_name(target)}</th>' for target in targets)
    head = (
        f'<tr><th rowspan="2" class="corner">crafted on</th><th colspan="{len(targets)}" scope="colgroup">tested on'
        f"</th></tr><tr>{heads}</tr>"
    )
    rows = []
    for source in sources:
        tiles = "".join(_tile(rates.get((source, target)), own=source == target) for target in targets)
        rows.append(f'<tr><th scope="row">{_name(source)}</th>{tiles}</tr>')
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(said)}"><table class="tiles" '
        f'aria-label="{escape(said)}"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _name(victim: str) -> str:
    """Each part of a victim's name on a line of its own."""
    return escape(victim).replace(", ", ",<br>")


def _tile(rate: float | None, *, own: bool) -> str:
    if rate is None:
        return "<td></td>"
    colour, text = to_hex(_COLOURS(rate / 100)), "#000" if rate / 100 > _BRIGHT else "#fff"
    return f'<td{" class=own" if own else ""} style="background: {colour}; color: {text}">{rate_text(rate)}</td>'
