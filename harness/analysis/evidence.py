"""What is known of each cell of a sweep, from its rows and its victim: the evidence for indicators."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eadbench.harness.analysis.black_box import BlackBox
from eadbench.harness.plan.cells import Victim

__all__ = ["COLUMNS", "Counts", "Evidence", "evidence_of"]

Floats = NDArray[np.float64]

COLUMNS = (
    *("success", "const_end", "nonfinite", "survival", "image", "target"),
    *("iterations", "forward_passes", "l0", "l1", "l2", "linf", "trace", "found_by", "outside"),
)
"""The columns that are counted."""

MORE = ("epsilon", "budget", "max_iterations", "steps", "binary_search_steps", "restarts")
"""Hyperparameters of which more should never succeed less."""
_ROUNDING = 1.001
"""A distance may exceed its ε by this factor, in float32."""
_SPENT = 0.95
"""The share of a budget after which it counts as used up."""
_UNTARGETED = -1


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of a cell."""

    attack: str
    """The attack's name; one with a colon is other people's code."""
    parameters: Mapping[str, Any]
    """Its hyperparameters, with `kappa`."""
    counts: Mapping[str, float]
    """Numbers of rows, by :class:`Counts`."""
    interval: float = 0.0
    """The width of the 95 % interval of its ASR over every target, in percentage points."""
    victim: Mapping[str, float] = field(default_factory=dict)
    """What was measured on its victim, by :func:`eadbench.attacks.figures_of`; empty if nothing was."""
    accuracy: float | None = None
    """The victim's accuracy, in [0, 1]."""
    dataset: str = ""
    arch: str = ""
    hardened: bool = False
    """Whether the victim was trained to withstand attacks, which costs accuracy."""
    drop: float | None = None
    """By how many percentage points of ASR it falls behind the same attack with a smaller value of one of `MORE`;
    None without such a cell."""
    transferred: float | None = None
    """Share of the victim's examples that one crafted elsewhere breaks and no attack on the victim; None if none was
    tested on it, or every attack on it has a κ or a fixed ε, which examples from elsewhere need not keep."""
    black_box: float | None = None
    """Share of its examples on which it failed and an attack without gradients did not, in its norm, within its ε and
    at its κ; None if there is no such attack."""


class Counts:
    """Counts by line, taken from batches of rows while they pass by."""

    def __init__(self, lines: pd.DataFrame) -> None:
        self._limits = _limits(lines)
        self._own = lines["model"] == lines["evaluated_on"]
        self._tested = lines["evaluated_on"]
        self._free = self._own & (lines["kappa"].fillna(0.0) == 0) & self._limits["epsilon"].isna()
        self._black_box = BlackBox(lines[self._own])
        self._parts: list[pd.DataFrame] = []
        self._broken: list[pd.DataFrame] = []

    def watched(self, batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Yield every batch of rows, with the columns `COLUMNS` and `line`, after it is counted."""
        for batch in batches:
            self._parts.append(self._marks(batch).groupby("line").sum())
            self._black_box.watch(batch)
            if not self._own.all():
                self._broken.append(self._breaks(batch))
            yield batch

    @property
    def by_line(self) -> pd.DataFrame:
        """The counts of every line that has rows."""
        return pd.concat(self._parts) if self._parts else pd.DataFrame()

    @property
    def black_box(self) -> Mapping[str, float]:
        """:attr:`Evidence.black_box` by cell."""
        return self._black_box.shares

    @property
    def transferred(self) -> Mapping[str, float]:
        """:attr:`Evidence.transferred` by victim."""
        if not self._broken:
            return {}
        keys = ["victim", "image", "target"]
        examples = pd.concat(self._broken).groupby(keys).max()
        both = examples[(examples["attacked"] > 0) & (examples["tested"] > 0)]
        missed = (both["by_other"] > 0) & (both["by_own"] == 0)
        return {str(victim): float(share) for victim, share in missed.groupby("victim").mean().items()}

    def _marks(self, batch: pd.DataFrame) -> pd.DataFrame:
        line, success = batch["line"], batch["success"].to_numpy(dtype=bool)
        limits = self._limits.loc[line]
        budget, epsilon = limits["budget"].to_numpy(), limits["epsilon"].to_numpy()
        passes = (batch["iterations"].astype("Float64") + batch["forward_passes"].astype("Float64")).to_numpy(
            dtype=np.float64, na_value=np.nan
        )
        norms = limits["norm"].to_numpy()
        distance = np.full(len(batch), np.nan)
        for norm in ("l0", "l1", "l2", "linf"):
            values = batch[norm].to_numpy(dtype=np.float64, na_value=np.nan)
            distance = np.where(norms == norm, values, distance)
        fall, queried = _falls(batch["trace"])
        marks = {
            "examples": np.ones(len(batch)),
            "successes": success,
            "greatest": batch["const_end"] == "greatest",
            "nonfinite": batch["nonfinite"].fillna(0) > 0,
            "random": batch["survival"].notna(),
            "surviving": batch["survival"].fillna(0.0),
            "spent": ~success & (passes >= _SPENT * budget),
            "over_budget": passes > budget,
            "over_epsilon": success & (distance > _ROUNDING * epsilon),
            "outside": batch["outside"].eq(True),
            "silent": ~success & queried,
            "traced": ~np.isnan(fall),
            "fall": np.nan_to_num(fall),
        }
        return pd.DataFrame({"line": line, **{name: np.asarray(each, dtype=float) for name, each in marks.items()}})

    def _breaks(self, batch: pd.DataFrame) -> pd.DataFrame:
        own = self._own.loc[batch["line"]].to_numpy()
        success = batch["success"].to_numpy(dtype=bool)
        marks = pd.DataFrame(
            {
                "victim": self._tested.loc[batch["line"]].to_numpy(),
                "image": batch["image"].to_numpy(dtype=np.int64),
                "target": batch["target"].to_numpy(dtype=np.float64, na_value=_UNTARGETED),
                "attacked": self._free.loc[batch["line"]].to_numpy(),
                "tested": ~own,
                "by_own": own & success,
                "by_other": ~own & success,
            }
        )
        return marks.groupby(["victim", "image", "target"]).max().reset_index()


def evidence_of(
    lines: pd.DataFrame, counts: Counts, asr: pd.DataFrame, victims: Sequence[Victim]
) -> dict[str, Evidence]:
    """Return the evidence on each cell that has rows on the victim that it attacks.

    Parameters
    ----------
    lines
        The settings of the lines by their numbers, as :class:`eadbench.harness.parquet.stored.StoredRows` has them.
    asr
        Lines of the summary of these cells, with their ASR over all targets and the ends of its interval.
    """
    known, by_victim = {victim.digest: victim for victim in victims}, counts.transferred
    own = lines[lines["model"] == lines["evaluated_on"]].join(counts.by_line, how="inner")
    rates = asr.drop_duplicates("cell").set_index("cell")
    drops, black_box = _drops(own, rates["all_targets_asr"]), counts.black_box
    found = {}
    for line in own.to_dict("records"):
        victim, rate = known[line["model"]], rates.loc[line["cell"]]
        found[str(line["cell"])] = Evidence(
            attack=str(line["attack"]),
            parameters={**json.loads(line["parameters"] or "{}"), "kappa": float(line["kappa"] or 0.0)},
            counts={str(name): float(line[name]) for name in counts.by_line},
            interval=float(rate["all_targets_asr_hi"] - rate["all_targets_asr_lo"]),
            victim=victim.figures,
            accuracy=victim.accuracy,
            dataset=str(line["dataset"]),
            arch=victim.arch,
            hardened=victim.defense not in ("none", "distillation"),
            drop=drops.get(str(line["cell"])),
            transferred=by_victim.get(victim.digest),
            black_box=black_box.get(str(line["cell"])),
        )
    return found


def _limits(lines: pd.DataFrame) -> pd.DataFrame:
    """Return the budget and the ε of each line, NaN without one, and the norm of its distance."""
    parameters = [json.loads(text or "{}") for text in lines["parameters"]]
    limits = {name: [_number(each.get(name)) for each in parameters] for name in ("budget", "epsilon")}
    norms = lines["norm"].astype(object).where(lines["norm"].notna(), None)
    return pd.DataFrame({**limits, "norm": norms.to_numpy()}, index=lines.index)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else np.nan


def _falls(traces: "pd.Series[Any]") -> tuple[Floats, NDArray[np.bool_]]:
    """Return the fall (R,) of each row's least distance over the last half of its budget, and whether it has one.

    The fall is relative. It is 1 if the first adversarial image came in that half, and NaN without a trace, or without
    an adversarial image.
    """
    fall, queried = np.full(len(traces), np.nan), np.zeros(len(traces), dtype=bool)
    has = traces.notna().to_numpy()
    if has.any():
        values = np.array([[np.nan if each is None else each for each in trace] for trace in traces[has]], dtype=float)
        half, end = values[:, -2], values[:, -1]
        relative = np.where(np.isnan(half), 1.0, (half - end) / np.maximum(half, np.finfo(float).tiny))
        fall[has], queried[has] = np.where(np.isnan(end), np.nan, relative), ~np.isnan(end)
    return fall, queried


def _drops(own: pd.DataFrame, rates: "pd.Series[float]") -> dict[str, float]:
    """Return :attr:`Evidence.drop` by cell."""
    cells = own[["cell", "model", "attack", "norm", "decision_rule", "beta", "kappa"]].astype(object)
    keys = [tuple(map(repr, line)) for line in cells.drop(columns="cell").itertuples(index=False, name=None)]
    parameters = [json.loads(text or "{}") for text in own["parameters"]]
    drops: dict[str, float] = {}
    for name in MORE:
        groups: dict[str, list[tuple[float, str]]] = {}
        for cell, key, each in zip(own["cell"], keys, parameters, strict=True):
            if not np.isnan(value := _number(each.get(name))):
                rest = repr((key, sorted((other, repr(each[other])) for other in each if other != name)))
                groups.setdefault(rest, []).append((value, str(cell)))
        for group in groups.values():
            best: float | None = None
            for _, cell in sorted(group):
                if best is not None:
                    drops[cell] = max(drops.get(cell, 0.0), best - float(rates[cell]))
                best = max(-np.inf if best is None else best, float(rates[cell]))
    return drops
