"""The optimality of a sweep's cells, as metrics for MLflow."""

from collections import defaultdict
from collections.abc import Mapping

from eadbench.harness.analysis.leaderboard import compared
from eadbench.harness.results.snapshot import Snapshot

__all__ = ["optimality_metrics"]


def optimality_metrics(snapshot: Snapshot) -> Mapping[str, Mapping[str, float]]:
    """Return, by cell, local optimality on its victim (``lo.l1``) and global optimality over victims (``go.l1``).

    A cell has those of the norms that its attack minimises, on the boards of :func:`compared`.
    """
    metrics: dict[str, dict[str, float]] = defaultdict(dict)
    for board in compared(snapshot):
        for at, victim in enumerate(board.victims):
            for cell, local, overall in zip(victim.cells, board.scores.local[:, at], board.scores.overall, strict=True):
                if cell is not None:
                    metrics[cell] |= {f"lo.{board.norm}": float(local), f"go.{board.norm}": float(overall)}
    return metrics
