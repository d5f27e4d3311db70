"""Curves over β, κ and T as MLflow metrics with steps.

A step is an integer. κ and T are usually integers; β is counted in millionths. If a value of a curve is not an integer
in the first unit, the curve uses a smaller unit, which its name states. A curve that fits no unit is left out.

MLflow gathers charts by what stands before the ``/`` in their names, and shows some 20 characters of a title: names
begin with the victim, then the figure and the axis.
"""

import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from decimal import Decimal
from operator import itemgetter
from typing import Any

import pandas as pd

from eadbench.harness.analysis.aggregate import FIGURES
from eadbench.harness.labels import AXES, Labels, distinct, family_label, family_of
from eadbench.harness.numbers import parameter_text
from eadbench.harness.plan.cells import Victim
from eadbench.harness.tracking.records import Curve
from eadbench.models import digest_of

UNITS: Mapping[str, Mapping[str, int]] = {
    "beta": {"": 6, "in billionths": 9, "in trillionths": 12},
    "kappa": {"": 0, "in thousandths": 3, "in millionths": 6},
    "temperature": {"": 0, "in thousandths": 3, "in millionths": 6},
}
"""Decimal places of each unit, by axis and by the name of the unit; the first unit that fits is used."""
MOST_CURVES = 16
"""Limit of settings with curves over one axis."""
MOST_POINTS = 500
"""Limit of points of a curve."""
_LABEL_LIMIT = 90
"""Limit of characters of a victim and of a setting in a metric's name; MLflow's limit for the whole name is 250."""


def curves(summary: pd.DataFrame, victims: Sequence[Victim]) -> dict[str, Curve]:
    """Return ASR, L1, L2 and L∞ of the average case and of all targets, over every axis with at least two values.

    Parameters
    ----------
    summary
        Lines of ``eadbench.harness.analysis.aggregate.summarise``.

    Returns
    -------
    Mapping
        Curves by name, such as ``no defence/l1 κ EAD L1 β 1e-3`` (over all targets: ``no defence/all l1 κ …``), for at
        most `MOST_CURVES` settings per axis; the first setting of every attack comes first. A step without a success
        has no distortion.
    """
    own = summary[(summary["case"] == "average") & (summary["model"] == summary["evaluated_on"])]
    own = own.assign(family=family_of(own))
    labels = Labels(lines=summary, victims=victims)
    cases = {"": "", "all ": "all_targets_"}
    if own["targets_per_image"].max() == 1:  # both are the same
        del cases["all "]
    curves: dict[str, Curve] = {}
    for axis in UNITS:
        settings = list(_settings(own, axis))
        names = _names([lines.iloc[0].to_dict() for lines in settings], axis, labels)
        for lines, (victim, setting) in zip(settings, names, strict=True):
            scale = steps(lines[axis].tolist(), axis)
            if scale is None:
                continue
            unit, ticks = scale
            over = " ".join(filter(None, (AXES[axis], unit)))
            for case, prefix in cases.items():
                for figure in FIGURES:
                    values = zip(ticks, lines[prefix + figure].tolist(), strict=True)
                    curve = [(step, float(value)) for step, value in values if not pd.isna(value)]
                    if curve:
                        curves[f"{victim}/{case}{figure} {over} {setting}"] = curve
    return curves


def _settings(lines: pd.DataFrame, axis: str) -> Iterator[pd.DataFrame]:
    """Yield the lines of every setting with a curve over an axis, in ascending order of the axis.

    The first setting of every attack on every victim comes first, then the second of each.
    """
    attack = ["dataset", "family" if axis == "temperature" else "model", "series"]
    by = [*attack, *(name for name in ("beta", "kappa") if name != axis)]
    counts: Counter[tuple[Hashable, ...]] = Counter()
    ranked = []
    for setting, part in lines[lines[axis].notna()].groupby(by, sort=False, dropna=False):
        if 1 < len(part) <= MOST_POINTS and part[axis].is_unique:
            ranked.append((counts[setting[: len(attack)]], part.sort_values(axis)))
            counts[setting[: len(attack)]] += 1
    ranked.sort(key=itemgetter(0))
    yield from (part for _, part in ranked[:MOST_CURVES])


def steps(values: Sequence[float], axis: str) -> tuple[str, list[int]] | None:
    """Return the first unit of the axis in which all values are integers, and these integers; None if none fits."""
    exact = [Decimal(repr(float(value))) for value in values]
    for unit, places in UNITS[axis].items():
        scaled = [value.scaleb(places) for value in exact]
        if all(value == value.to_integral_value() for value in scaled):
            return unit, [int(value) for value in scaled]
    return None


def _names(lines: Sequence[Mapping[Hashable, Any]], axis: str, labels: Labels) -> Iterator[tuple[str, str]]:
    """Yield the victim and the setting of each curve, as parts of its name, from a line of it.

    Over the temperature, the victim is the defence of the networks that differ in it.
    """
    if axis == "temperature":
        ids = [digest_of(line["family"]) for line in lines]
        several = len({line["arch"] for line in lines}) > 1
        words = [f"{line['arch']} {family_label(line)}" if several else family_label(line) for line in lines]
        victims = dict(zip(ids, words, strict=True))
    else:
        ids, victims = [line["model"] for line in lines], victim_names(labels)
    texts = [_setting_text(line, axis, labels) for line in lines]
    settings = plain_keys({digest_of(text): text for text in texts})
    victims = plain_keys(victims)
    yield from ((victims[digest], settings[digest_of(text)]) for digest, text in zip(ids, texts, strict=True))


def _setting_text(line: Mapping[Hashable, Any], axis: str, labels: Labels) -> str:
    """Return the setting of a curve, without κ = 0: ``EAD (L1) β 1e-3 κ 20``."""
    words = [labels.series[line["series"]]]
    for name in ("beta", "kappa"):
        value = line[name]
        if name != axis and not pd.isna(value) and (name == "beta" or value):
            words += [AXES[name], parameter_text(value)]
    return " ".join(words)


def victim_names(labels: Labels) -> dict[str, str]:
    """Return a sweep's victims by digest, in the fewest words: an unnamed victim that is alone by its defence."""
    if len(labels.victim) > 1 or labels.victim != labels.victim_details:
        return labels.short_victims(labels.victim)
    return dict(labels.defense)


def plain_keys(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels by their digests as parts of metrics' names; two different digests never have the same name."""
    names = {digest: _plain_key(label)[:_LABEL_LIMIT] for digest, label in labels.items()}
    return {digest: _plain_key(name) for digest, name in distinct(names).items()}


def _plain_key(text: str) -> str:
    """Return a text in characters that MLflow accepts in a metric's name."""
    return re.sub(r"[^\w.-]+", " ", text.replace("&", "")).strip()
