"""Curves of the summary of ``eadbench.harness.analysis.aggregate``, as in the paper's figures 2 to 5.

All show the average case, with 95 % intervals as bands:

- ``asr_over_AXIS`` and ``distortion_over_AXIS``, of AXIS beta (paper's figures 2 and 5), temperature (figure 3) and
  kappa: what attacks reach on the victim that they were crafted on
- ``transfer_asr_over_kappa`` (figure 4): the same examples on other victims, a panel for each
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from operator import itemgetter
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from eadbench.harness.analysis.aggregate import METRICS
from eadbench.harness.labels import defense_text, parameter_text
from eadbench.harness.plan.grid import Victim
from eadbench.harness.reporting.figures import plotting
from eadbench.harness.reporting.figures.files import slug

__all__ = ["draw"]

_QUANTITIES: Mapping[str, Sequence[str]] = {"asr": ("asr",), "distortion": METRICS}
_FIXED = {"beta": ("kappa",), "temperature": ("kappa", "beta"), "kappa": ("beta",)}
"""By axis, what is the same throughout a figure; an attack that has no such parameter stands in each."""


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """The lines of one figure, and what they have in common.

    `common` gives in words the dataset, arch, victim, model, kappa and beta that are the same throughout.
    """

    lines: pd.DataFrame
    common: Mapping[str, str]

    @property
    def title(self) -> str:
        """What is shown, but for the victim's digest."""
        return ", ".join(text for name, text in self.common.items() if name != "model") + ", average case"


def draw(summary: pd.DataFrame, victims: Sequence[Victim], *, at_most: int | None = None) -> dict[str, Figure]:
    """Draw every figure for which there are at least two values of its axis.

    Parameters
    ----------
    summary
        From ``eadbench.harness.analysis.aggregate.summarise``.
    victims
        Those that examples are tested on: the panels of a transfer figure, in their order.
    at_most
        So many figures of each quantity over each axis: of every victim the first, then the second, and so on; all of
        them unless given.

    Returns
    -------
    Figures by name: ``asr_over_temperature-mnist``, with the architecture, victim, κ and β in the name where a data
    set has figures of several.
    """
    average = summary[summary["case"] == "average"]
    here = average["model"] == average["evaluated_on"]
    found: dict[str, Figure] = {}
    with mpl.rc_context(plotting.STYLE):
        for axis, (quantity, figures) in product(_FIXED, _QUANTITIES.items()):
            for name, subject in _named(_first(_subjects(average[here], axis), at_most)).items():
                panels = [plotting.Panel(lines=subject.lines, axis=axis, figure=figure) for figure in figures]
                found[f"{quantity}_over_{axis}-{name}"] = plotting.curves(panels, title=subject.title)
        for name, subject in _named(_first(_subjects(average[~here], "kappa", alone=True), at_most)).items():
            title = f"crafted on {subject.title}"
            found[f"transfer_asr_over_kappa-{name}"] = plotting.curves(_onto(subject.lines, victims), title=title)
    return found


def _subjects(lines: pd.DataFrame, axis: str, *, alone: bool = False) -> Iterator[_Subject]:
    """Yield the lines of every figure over an axis; attacks that have one value of it only if `alone`."""
    group = ["dataset", "arch", "defense", *([] if axis == "temperature" else ["model"])]
    for _, of_victim in lines[lines[axis].notna()].groupby(group, sort=False):
        for setting in _settings(of_victim, _FIXED[axis]):
            part = of_victim
            for name, value in setting.items():
                part = part[(part[name] == value) | part[name].isna()]
            if not alone:
                part = part[part.groupby(["attack", "decision_rule"])[axis].transform("nunique") > 1]
            if part[axis].nunique() > 1:
                yield _Subject(lines=part, common=_common(part.iloc[0], axis, setting))


def _first(subjects: Iterable[_Subject], at_most: int | None) -> list[_Subject]:
    """The subjects, or at most so many: of every victim the first, then the second, and so on."""
    if at_most is None:
        return list(subjects)
    before: Counter[tuple[str, str]] = Counter()
    ranked = []
    for subject in subjects:
        victim = subject.common["victim"], subject.common.get("model", "")
        ranked.append((before[victim], subject))
        before[victim] += 1
    return [subject for _, subject in sorted(ranked, key=itemgetter(0))][:at_most]


def _settings(lines: pd.DataFrame, names: Sequence[str]) -> Iterator[dict[str, float]]:
    """Yield every combination of the values that parameters have, without a parameter that no line has."""
    values = {name: sorted(lines[name].dropna().unique().tolist()) for name in names}
    had = {name: found for name, found in values.items() if found}
    for combination in product(*had.values()):
        yield dict(zip(had, combination, strict=True))


def _common(line: "pd.Series[Any]", axis: str, setting: Mapping[str, float]) -> dict[str, str]:
    over_victims = axis == "temperature"
    victim = defense_text(str(line["defense"]), None if over_victims else line["temperature"])
    common = {"dataset": str(line["dataset"]), "arch": str(line["arch"]), "victim": victim}
    if not over_victims:
        common["model"] = str(line["model"])
    symbols = {"kappa": "κ", "beta": "β"}
    return common | {name: f"{symbols[name]} = {parameter_text(value)}" for name, value in setting.items()}


def _named(subjects: Sequence[_Subject]) -> dict[str, _Subject]:
    """Name subjects by their data set and by what tells those of one data set apart."""
    found: dict[str, _Subject] = {}
    for subject in subjects:
        beside = [other.common for other in subjects if other.common["dataset"] == subject.common["dataset"]]
        alike = {other.get("model") for other in beside if other["victim"] == subject.common["victim"]}
        differs = [
            name
            for name, text in subject.common.items()
            if any(other.get(name) != text for other in beside) and (name != "model" or len(alike) > 1)
        ]
        found["-".join(slug(subject.common[name]) for name in ["dataset", *differs])] = subject
    return found


def _onto(lines: pd.DataFrame, victims: Sequence[Victim]) -> list[plotting.Panel]:
    """A panel for every victim that the examples were tested on."""
    names = {victim.digest: defense_text(victim.defense, victim.temperature) for victim in victims}
    tested = lines["evaluated_on"].unique().tolist()
    order = [digest for digest in names if digest in tested] + [digest for digest in tested if digest not in names]
    return [
        plotting.Panel(
            lines=lines[lines["evaluated_on"] == digest],
            axis="kappa",
            figure="asr",
            title=f"tested on {names.get(digest, digest)}",
        )
        for digest in order
    ]
