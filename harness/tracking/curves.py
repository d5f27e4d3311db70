"""Curves over β, κ and T as MLflow shows them: metrics with steps.

A step is a whole number. κ and T are as a rule; β is counted in millionths. Where a curve has a value that is not whole
so, it is counted in a smaller unit, which its name then gives; where none of them makes it whole, there is no curve.
"""

import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from decimal import Decimal
from operator import itemgetter

import pandas as pd

from eadbench.harness.analysis.aggregate import FIGURES
from eadbench.harness.labels import defense_text, parameter_text
from eadbench.harness.plan.grid import Victim
from eadbench.harness.records import Curve

UNITS: Mapping[str, Mapping[str, int]] = {
    "beta": {"in millionths": 6, "in billionths": 9, "in trillionths": 12},
    "kappa": {"": 0, "in thousandths": 3, "in millionths": 6},
    "temperature": {"": 0, "in thousandths": 3, "in millionths": 6},
}
"""By axis, units by name: how many of their decimal places are whole."""
MOST_CURVES = 16
"""Settings of the other parameters that have curves over an axis."""
MOST_POINTS = 500


def curves(summary: pd.DataFrame, victims: Sequence[Victim]) -> dict[str, Curve]:
    """ASR, L1, L2 and L∞ of the average case and of all targets, over every axis that has at least two values.

    Parameters
    ----------
    summary
        From ``eadbench.harness.analysis.aggregate.summarise``.

    Returns
    -------
    By name, ``average.l1 over kappa/EAD L1 beta 1e-3 on no defence``, of at most `MOST_CURVES` settings for each axis,
    those first that have the first β and κ of their attack. A step at which nothing succeeded has no distortion.
    """
    own = summary[(summary["case"] == "average") & (summary["model"] == summary["evaluated_on"])]
    names = _names(victims)
    found: dict[str, Curve] = {}
    for axis in UNITS:
        for setting, lines in _settings(own, axis):
            counted = steps(lines[axis].tolist(), axis)
            if counted is None:
                continue
            unit, at = counted
            over = " ".join(filter(None, ("over", axis, unit)))
            for case, prefix in (("average", ""), ("all_targets", "all_targets_")):
                for figure in FIGURES:
                    values = zip(at, lines[prefix + figure].tolist(), strict=True)
                    curve = [(step, float(value)) for step, value in values if not pd.isna(value)]
                    if curve:
                        found[f"{case}.{figure} {over}/{_text(setting, axis, names)}"] = curve
    return found


def _settings(lines: pd.DataFrame, axis: str) -> Iterator[tuple[dict[str, Hashable], pd.DataFrame]]:
    """Yield the settings that have a curve over an axis, and their lines, which ascend."""
    victim = ["dataset", "arch", "defense"] if axis == "temperature" else ["model"]
    attack = [*victim, "attack", "decision_rule"]
    by = [*attack, *(name for name in ("beta", "kappa") if name != axis)]
    before: Counter[tuple[Hashable, ...]] = Counter()
    found = []
    for setting, part in lines[lines[axis].notna()].groupby(by, sort=False, dropna=False):
        if 1 < len(part) <= MOST_POINTS and part[axis].is_unique:
            of = setting[: len(attack)]
            found.append((before[of], dict(zip(by, setting, strict=True)), part.sort_values(axis)))
            before[of] += 1
    found.sort(key=itemgetter(0))
    yield from ((setting, part) for _, setting, part in found[:MOST_CURVES])


def steps(values: Sequence[float], axis: str) -> tuple[str, list[int]] | None:
    """The first of the axis's units in which all the values are whole, and how many they are; None if there is none."""
    exact = [Decimal(repr(float(value))) for value in values]
    for unit, places in UNITS[axis].items():
        scaled = [value.scaleb(places) for value in exact]
        if all(value == value.to_integral_value() for value in scaled):
            return unit, [int(value) for value in scaled]
    return None


def _text(setting: Mapping[str, Hashable], axis: str, victims: Mapping[Hashable, str]) -> str:
    """What a curve is of, such as ``EAD L1 beta 1e-3 kappa 20 on distillation T 100``; κ = 0 goes without saying."""
    parts = [setting["attack"], setting["decision_rule"]]
    for name in ("beta", "kappa"):
        value = setting.get(name)
        if isinstance(value, float) and not pd.isna(value) and (name == "beta" or value):
            parts += [name, parameter_text(value)]
    parts += ["on", setting["defense"] if axis == "temperature" else victims[setting["model"]]]
    return plain_key(" ".join(map(str, filter(None, parts))))


def _names(victims: Sequence[Victim]) -> dict[Hashable, str]:
    """What tells victims apart: the defence, and the digest of those that have the same."""
    texts = {victim.digest: defense_text(victim.defense, victim.temperature) for victim in victims}
    alike = list(texts.values())
    return {digest: text if alike.count(text) == 1 else f"{text} {digest[:8]}" for digest, text in texts.items()}


def plain_key(text: str) -> str:
    """A text as part of a metric's name, in characters that MLflow takes."""
    return re.sub(r"[^\w.-]+", " ", text.replace("&", "")).strip()
