"""Victims that differ in the seed of their training alone: the mean of each figure over seeds, and its interval.

The other intervals of a report are over images: they say how far the figures of one victim would move on other images.
These say how far they move from one training to another, on the same images.

Shape letters:
    S  seeds
    F  figures: ASR and the distortions
"""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special  # type: ignore[import-untyped]

from eadbench.harness.analysis.aggregate import FIGURES
from eadbench.harness.analysis.intervals import LEVEL
from eadbench.harness.plan.cells import Victim

__all__ = ["MEANING", "over_seeds", "siblings_of"]

Floats = NDArray[np.float64]

MEANING = (
    "Mean over training seeds ± half of its 95 % interval, by Student's t over the seeds. The intervals of single "
    "victims are over images."
)
"""What the figures of a table over seeds are."""
_LINE = ["siblings", "targets", "attack", "norm", "decision_rule", "parameters", "beta", "kappa", "case"]


def siblings_of(victims: Sequence[Victim]) -> Mapping[str, Sequence[Victim]]:
    """Return the groups of attacked victims that differ in their training's seed alone, by the digest of a group."""
    groups: dict[str, list[Victim]] = {}
    for victim in victims:
        if victim.siblings and victim.attacked:
            groups.setdefault(victim.siblings, []).append(victim)
    return {digest: group for digest, group in groups.items() if len(group) > 1}


def over_seeds(lines: pd.DataFrame, victims: Sequence[Victim]) -> pd.DataFrame:
    """Return a line per group of siblings, setting and case: means over seeds, with intervals.

    Parameters
    ----------
    lines
        The result of ``aggregate.summarise``. Only complete lines on the attacked victim count.
    victims
        The victims of the sweep.

    Returns
    -------
    DataFrame in the order of the lines, with the setting's columns; `series`, the attack without β and κ; `seeds`, how
    many victims count; and for each figure its mean, and the ends `FIGURE_lo` and `FIGURE_hi` of its interval, NaN
    with fewer than two values. An ASR's interval ends within 0 and 100, a distortion's at 0. Empty without siblings.
    """
    groups = siblings_of(victims)
    group_of = {victim.digest: digest for digest, group in groups.items() for victim in group}
    own = lines[(lines["model"] == lines["evaluated_on"]) & (lines["missing"] == 0)]
    own = own.assign(siblings=own["model"].map(group_of))
    own = own[own["siblings"].notna()]
    records = []
    for key, part in own.groupby(_LINE, sort=False, dropna=False):
        setting = dict(zip(_LINE, key, strict=True))
        mean, low, high = _t_interval(part[list(FIGURES)].to_numpy(dtype=np.float64))
        record = {**setting, "series": part["series"].iloc[0], "seeds": len(part)}
        for number, figure in enumerate(FIGURES):
            record |= {figure: mean[number], f"{figure}_lo": low[number], f"{figure}_hi": high[number]}
        records.append(record)
    columns = [*_LINE, "series", "seeds", *(f"{figure}{end}" for figure in FIGURES for end in ("", "_lo", "_hi"))]
    return pd.DataFrame(records, columns=columns)


def _t_interval(figures: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the means of figures (S, F) over seeds, and the ends of their intervals; a NaN does not count."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # without a value, or with one, the result is NaN
        count = np.sum(~np.isnan(figures), axis=0)
        mean, deviation = np.nanmean(figures, axis=0), np.nanstd(figures, axis=0, ddof=1)
        half = special.stdtrit(count - 1.0, (1.0 + LEVEL) / 2.0) * deviation / np.sqrt(count)
    half = np.where(count > 1, half, np.nan)
    most = np.where(np.array(FIGURES) == "asr", 100.0, np.inf)
    return mean, np.clip(mean - half, 0.0, None), np.minimum(mean + half, most)
