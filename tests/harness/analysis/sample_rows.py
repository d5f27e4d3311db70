"""Rows made by hand and by chance, and their figures image by image."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from eadbench.harness.analysis.aggregate import (
    CASES,
    METRICS,
)

SETTING: dict[str, Any] = {
    "dataset": "mnist",
    "split": "test",
    "label": 0,
    "model": "a" * 16,
    "arch": "cw",
    "defense": "none",
    "defense_parameters": "{}",
    "temperature": None,
    "trained_on": None,
    "evaluated_on": "a" * 16,
    "attack": "ead",
    "norm": None,
    "decision_rule": "en",
    "beta": 1e-3,
    "kappa": 0.0,
    "parameters": '{"max_iterations":1000}',
    "iterations": 10,
    "cell": "c" * 16,
    "shard": "d" * 16,
}


def rows_of(examples: Iterable[tuple[int, int | None, float | None]], **setting: Any) -> pd.DataFrame:
    """Rows from (image, target, L1), null where failed; L2 = 10 - L1 and Linf = 1 / L1 run against L1."""
    rows = []
    for image, target, l1 in examples:
        distances = {"l1": l1, "l2": None if l1 is None else 10 - l1, "linf": None if l1 is None else 1 / l1}
        rows.append(SETTING | {"image": image, "target": target, "success": l1 is not None} | distances | setting)
    frame = pd.DataFrame(rows)
    return frame.astype(dict.fromkeys(("temperature", "beta", "kappa", *METRICS), "float64"))


def random_rows(seed: int, *, images: int = 12, targets: int = 5, **setting: Any) -> pd.DataFrame:
    """Rows of images with some rows missing and some images that always or never succeed."""
    generator = np.random.default_rng(seed)
    examples: list[tuple[int, int | None, float | None]] = []
    for image in generator.choice(1000, size=images, replace=False).tolist():
        rate = generator.choice([0.0, 0.5, 1.0])
        chosen = generator.choice(10, size=generator.integers(1, targets + 1), replace=False)
        for target in chosen.tolist():
            examples.append((image, target, generator.uniform(1, 9) if generator.random() < rate else None))
    return rows_of(examples, **setting)


def lines_by_case(summary: pd.DataFrame) -> dict[str, pd.Series[Any]]:
    assert summary["case"].tolist() == list(CASES)
    return {case: summary.iloc[index] for index, case in enumerate(CASES)}


def drawn_target(seed: int, dataset: str, split: str, image: int, targets: Sequence[int]) -> int:
    """The average case's target, transcribed with Python's integers: SplitMix64 of the image."""
    word = 2**64 - 1
    state = int.from_bytes(hashlib.sha256(f"{seed}/{dataset}/{split}".encode()).digest()[:8], "big")
    state = (state + (image + 1) * 0x9E3779B97F4A7C15) & word
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & word
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & word
    return sorted(targets)[(state ^ (state >> 31)) % len(targets)]


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def slow_figures(rows: pd.DataFrame, *, seed: int) -> dict[str, list[float]]:
    """The figures of one cell, image by image as the paper words them."""
    kept: dict[str, list[dict[str, float] | None]] = {case: [] for case in (*CASES, "all_targets")}
    for (split, image), group in rows.groupby(["split", "image"]):
        wins = {row["target"]: {m: row[m] for m in METRICS} for row in group.to_dict("records") if row["success"]}
        targets = group["target"].tolist()
        kept["best"].append({m: min(win[m] for win in wins.values()) for m in METRICS} if wins else None)
        kept["average"].append(wins.get(drawn_target(seed, "mnist", str(split), int(str(image)), targets)))
        everyone = len(wins) == len(targets)
        kept["worst"].append({m: max(win[m] for win in wins.values()) for m in METRICS} if everyone else None)
        kept["all_targets"] += [wins.get(target) for target in targets]
    return {
        case: [100 * mean([float(win is not None) for win in wins])]
        + [mean([win[m] for win in wins if win is not None]) for m in METRICS]
        for case, wins in kept.items()
    }


# Three images, three targets: the first succeeds for all, the second for two, the third for none.
HAND = [
    (0, 1, 1.0),
    (0, 2, 2.0),
    (0, 3, 4.0),
    (1, 0, 5.0),
    (1, 2, None),
    (1, 3, 8.0),
    (2, 0, None),
    (2, 1, None),
]
HAND += [(2, 3, None)]
