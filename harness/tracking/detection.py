"""What detectors say of a sweep's cells, as metrics for MLflow."""

from collections import defaultdict
from collections.abc import Mapping

import pandas as pd

from eadbench.harness.analysis.summary import Summary
from eadbench.harness.tracking.curves import plain_keys

__all__ = ["detection_metrics"]

_FIGURES = ("asr_with_detector", "rejected", "auc", "true_positives", "clean_rejected")


def detection_metrics(summary: Summary) -> Mapping[str, Mapping[str, float]]:
    """Return, by cell, the figures of each detector: ``feature squeezing/auc``. Those that are unknown are left out."""
    metrics: dict[str, dict[str, float]] = defaultdict(dict)
    if summary.detections is None:
        return metrics
    lines = summary.detections.lines
    names = plain_keys(dict(zip(lines["detector"], lines["label"], strict=True)))
    for line in lines.to_dict("records"):
        figures = {f"{names[line['detector']]}/{name}": line[name] for name in _FIGURES}
        metrics[line["cell"]] |= {name: float(value) for name, value in figures.items() if not pd.isna(value)}
    return metrics
