"""Curves of a leaderboard: what attacks leave unbroken within ε, and how near they come by their passes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eadbench.attacks.engine.ledger import SHARES
from eadbench.harness.analysis.leaderboard import Board, OnVictim
from eadbench.harness.analysis.optimality import local_optimality, security_curve

__all__ = ["ENVELOPE", "points", "steps"]

ENVELOPE = "least of all attacks"
"""The label of the lower envelope's curve."""
_STEP_LIMIT = 400
"""Steps of a curve: more than a chart has pixels to show."""


def steps(board: Board, victim: OnVictim, shown: Sequence[str]) -> pd.DataFrame:
    """Return the steps of the security curves of some attacks, by label, and of the envelope.

    Columns: `series`, `distance`, and `share`, the percentage of all examples that is not broken within the distance.
    All curves end at the greatest distance.
    """
    labels = board.attacks["label"].tolist()
    distances = {label: victim.distances[labels.index(label)] for label in shown} | {ENVELOPE: victim.best}
    end = max(each[np.isfinite(each)].max(initial=0.0) for each in distances.values())
    parts = [_curve(each, end).assign(series=label) for label, each in distances.items() if not np.isnan(each).all()]
    return pd.concat(parts, ignore_index=True)


def _curve(distances: NDArray[np.float64], end: float) -> pd.DataFrame:
    sizes, rates = security_curve(distances)
    if len(sizes) > _STEP_LIMIT:
        keep = np.unique(np.linspace(0, len(sizes) - 1, _STEP_LIMIT).round().astype(np.int64))
        sizes, rates = sizes[keep], rates[keep]
    return pd.DataFrame({"distance": np.append(sizes, end), "share": 100.0 * np.append(rates, rates[-1])})


def points(board: Board, victim: OnVictim, shown: Sequence[str]) -> pd.DataFrame:
    """Return how near some attacks come by their passes: columns `series`, `passes` and `lo`, the local optimality.

    An attack on a budget has a point for each share of it; another has one, at the mean of its passes.
    """
    labels, budgets = board.attacks["label"].tolist(), board.attacks["budget"].tolist()
    ends = local_optimality(victim.distances, victim.best)
    found = []
    for label in shown:
        at = labels.index(label)
        traced = victim.within_budget(at)
        if np.isnan(traced).all():
            found.append((label, float(victim.passes[at].mean()), float(ends[at])))
        else:
            found += [(label, budgets[at] * share, float(value)) for share, value in zip(SHARES, traced, strict=True)]
    return pd.DataFrame(found, columns=["series", "passes", "lo"]).dropna()
