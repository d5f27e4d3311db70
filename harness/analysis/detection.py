"""How well detectors tell the examples of each cell from their originals.

An example counts against a victim with its detector if it fools the victim and is not rejected.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eadbench.harness.labels import detector_labels
from eadbench.harness.parquet.detections import read_detections
from eadbench.harness.plan.cells import Cell, detector_digest
from eadbench.harness.registry import DETECTORS
from eadbench.harness.results.snapshot import Snapshot

__all__ = ["COLUMNS", "FALSE_POSITIVES", "Detections", "auc", "detections_of", "roc", "true_positives"]

FALSE_POSITIVES = 0.05
"""The rate of false positives at which true positives are given, as in Feinman et al. (2017)."""
COLUMNS = (
    *("cell", "model", "detector", "label", "knows", "examples", "asr", "asr_with_detector"),
    *("rejected", "auc", "true_positives", "clean_rejected", "clean_images"),
)
"""Columns of :attr:`Detections.lines`. Rates are in percent, the AUC is in [0, 1]; what cannot be measured is NaN."""
_POINTS = 200
"""Points of a curve."""

Floats = NDArray[np.float64]
Curve = tuple[Floats, Floats]
"""False and true positives, in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Detections:
    """What the detectors of a sweep's victims say."""

    lines: pd.DataFrame
    """One line per detector and cell, with the columns ``COLUMNS``. `knows` says what the attack takes into its loss:
    "" for nothing, "this" for this detector, "other" for another. Behind an oblivious cell stand its adaptive ones."""
    curves: Mapping[tuple[str, str], Curve]
    """The ROC curve of each detector (its digest) and cell with successes."""

    def of(self, cells: Sequence[str]) -> pd.DataFrame:
        """Return the lines of some cells."""
        return self.lines[self.lines["cell"].isin(cells)]


def detections_of(snapshot: Snapshot) -> Detections | None:
    """Return what the detectors say of a sweep's examples; None without detectors, or before they have judged any."""
    parts: dict[str, list[Any]] = {}
    for part in sorted(snapshot.folder.detections.glob("[!.]*.parquet")):
        parts.setdefault(part.stem.partition("-")[2], []).append(part)
    entries = {detector_digest(entry): entry for victim in snapshot.victims for entry in victim.detectors}
    labels, lines, curves = detector_labels(entries), list[dict[str, Any]](), dict[tuple[str, str], Curve]()
    order = _order(snapshot.cells)
    for victim in snapshot.victims:
        cells = {digest: cell for digest, cell in snapshot.cells.items() if cell.victim == victim.digest}
        for digest in map(detector_digest, victim.detectors):
            frame = read_detections(parts.get(digest, []), list(cells))
            frame = frame[frame["image"].isin(list(victim.images))].drop_duplicates(["cell", "image", "target"])
            by_cell = {str(cell): part for cell, part in frame.groupby("cell")}
            for cell in sorted(by_cell, key=order.__getitem__):
                names = {"cell": cell, "model": victim.digest, "detector": digest, "label": labels[digest]}
                positives, negatives = _scores(by_cell[cell])
                if _of_sets(entries[digest]):
                    positives = negatives = positives[:0]
                figures = _figures(by_cell[cell], positives, negatives)
                lines.append({**names, "knows": _knows(cells[cell], digest), **figures})
                if len(positives) and len(negatives):
                    curves[digest, cell] = roc(positives, negatives)
    return Detections(lines=pd.DataFrame(lines, columns=[*COLUMNS]), curves=curves) if lines else None


def _knows(cell: Cell, detector: str) -> str:
    known = cell.parameters.get("adaptive")
    return "" if known is None else "this" if detector_digest(known) == detector else "other"


def _order(cells: Mapping[str, Cell]) -> dict[str, int]:
    """Return the places of cells in their order, but those that differ in `adaptive` alone behind one another."""
    groups: dict[str, list[str]] = {}
    for digest, cell in cells.items():
        own = {name: value for name, value in cell.parameters.items() if not name.startswith("adaptive")}
        key = repr((cell.victim, cell.targets, cell.attack, sorted(own.items()), cell.beta, cell.kappa))
        groups.setdefault(f"{key}{cell.decision_rule}", []).append(digest)
    return {digest: place for place, digest in enumerate(digest for group in groups.values() for digest in group)}


def _scores(frame: pd.DataFrame) -> tuple[Floats, Floats]:
    """Return the scores of the successes of a cell, and those of its originals, each image once.

    A score that is no number is rejected, so it counts as infinite.
    """
    judged = frame["rejected"].notna() & frame["success"].astype(bool)
    clean = frame.dropna(subset=["clean_rejected"]).drop_duplicates("image")
    positives, negatives = (each.fillna(np.inf) for each in (frame.loc[judged, "score"], clean["clean_score"]))
    return positives.to_numpy(dtype=np.float64), negatives.to_numpy(dtype=np.float64)


def _of_sets(entry: Mapping[str, Any]) -> bool:
    """Return whether a detector of ours judges sets: those of a cell are too few for a curve of their scores."""
    return getattr(DETECTORS.table.get(str(entry.get("name"))), "SET_SIZE", None) is not None


def _figures(frame: pd.DataFrame, positives: Floats, negatives: Floats) -> dict[str, Any]:
    """Return the figures of a detector on a cell."""
    success = frame["success"].to_numpy(dtype=np.bool_)
    rejected = frame["rejected"].eq(True).to_numpy(dtype=np.bool_, na_value=False)
    clean = frame.dropna(subset=["clean_rejected"]).drop_duplicates("image")
    judged = (success & frame["rejected"].notna().to_numpy()).sum()
    return {
        "examples": len(frame),
        "asr": 100 * success.mean(),
        "asr_with_detector": np.nan if success.any() and not judged else 100 * (success & ~rejected).mean(),
        "rejected": 100 * (success & rejected).sum() / judged if judged else np.nan,
        "auc": auc(positives, negatives),
        "true_positives": 100 * true_positives(positives, negatives),
        "clean_rejected": 100 * clean["clean_rejected"].astype(bool).mean() if len(clean) else np.nan,
        "clean_images": len(clean),
    }


def auc(positives: Floats, negatives: Floats) -> float:
    """Return the probability that a positive scores above a negative, a tie counting half; NaN without either."""
    if not len(positives) or not len(negatives):
        return float("nan")
    ranks = pd.Series(np.concatenate([positives, negatives])).rank()[: len(positives)]
    pairs = len(positives) * len(negatives)
    return float((ranks.sum() - len(positives) * (len(positives) + 1) / 2) / pairs)


def true_positives(positives: Floats, negatives: Floats, false_positives: float = FALSE_POSITIVES) -> float:
    """Return the share of positives above the least threshold that no more than a share of the negatives is above."""
    if not len(positives) or not len(negatives):
        return float("nan")
    allowed = int(false_positives * len(negatives) + 1e-9)
    threshold = np.sort(negatives)[len(negatives) - 1 - allowed]
    return float((positives > threshold).mean())


def roc(positives: Floats, negatives: Floats) -> Curve:
    """Return the false and true positives at every threshold, from none to all, at about 200 of them at most."""
    thresholds = np.unique(np.concatenate([positives, negatives]))[::-1]
    thresholds = thresholds[:: max(1, len(thresholds) // _POINTS)]
    false, true = (np.array([0.0, *((each >= t).mean() for t in thresholds), 1.0]) for each in (negatives, positives))
    return false, true
