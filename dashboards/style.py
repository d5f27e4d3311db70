"""How Altair tells series apart: a colour for the attack, dashes and a mark for the decision rule or norm."""

from collections.abc import Iterable, Mapping
from typing import Any

import altair as alt

from eadbench.harness.styles import Style

__all__ = ["encodings", "legend_columns"]

_COLUMNS = {14: 3, 22: 2}
"""The columns of a legend by the most letters of a label; one column of longer labels."""


def legend_columns(labels: Iterable[str]) -> int:
    """Return how many columns of labels fit below a chart."""
    longest = max(map(len, labels), default=0)
    return next((columns for letters, columns in _COLUMNS.items() if longest <= letters), 1)


def encodings(styles: Mapping[str, Style]) -> dict[str, Any]:
    """Return the channels that tell values of the field `series` apart; the field `dashes` must hold the same labels.

    Parameters
    ----------
    styles
        The style of each series by its label, in the order of the legend.
    """
    legend = alt.Legend(
        title=None, orient="bottom", columns=legend_columns(styles), symbolSize=90, symbolOpacity=1, labelLimit=300
    )

    def scale(channel: int) -> alt.Scale:
        return alt.Scale(domain=list(styles), range=[style.altair[channel] for style in styles.values()])

    return {
        "color": alt.Color("series:N", scale=scale(0), legend=legend),
        "strokeDash": alt.StrokeDash("dashes:N", scale=scale(1), legend=None),
        "shape": alt.Shape("series:N", scale=scale(2), legend=legend),
    }
