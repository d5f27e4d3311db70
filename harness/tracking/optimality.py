"""The optimality of a sweep's cells, as metrics for MLflow."""

from collections import defaultdict
from collections.abc import Mapping

from eadbench.harness.analysis.leaderboard import boards
from eadbench.harness.analysis.summary import AT_ONCE
from eadbench.harness.errors import UserError
from eadbench.harness.results.snapshot import Snapshot

__all__ = ["optimality_metrics"]


def optimality_metrics(snapshot: Snapshot) -> Mapping[str, Mapping[str, float]]:
    """Return, by cell, local optimality on its victim (``lo.l1``) and global optimality over victims (``go.l1``).

    A cell has those of the norms that its attack minimises. There are none while attacks share no example, without a
    second attack to compare with, and in sweeps of more than ``AT_ONCE`` rows.
    """
    if snapshot.stored_rows.lines["rows"].sum() > AT_ONCE:
        return {}
    metrics: dict[str, dict[str, float]] = defaultdict(dict)
    try:
        ranked = boards([snapshot])
    except UserError:
        return {}
    for board in ranked:
        if len(board.attacks) > 1:
            for at, victim in enumerate(board.victims):
                for cell, local, overall in zip(
                    victim.cells, board.scores.local[:, at], board.scores.overall, strict=True
                ):
                    if cell is not None:
                        metrics[cell] |= {f"lo.{board.norm}": float(local), f"go.{board.norm}": float(overall)}
    return metrics
