"""Curves of a summary, as in the paper's figures 2 to 5.

All show the average case, with 95 % intervals as bands:

- ``asr_over_AXIS`` and ``distortion_over_AXIS``: the attacks on their own victim, over beta (the paper's figures 2 and
  5), temperature (figure 3) and kappa; over beta, an attack without it is a horizontal line;
- ``transfer_asr_over_kappa`` (figure 4): the same examples on other victims, one panel per victim.

The paper's figures can stand beside ours, as hollow marks.
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
from eadbench.harness.labels import AXES, Labels, dataset_label, family_label, family_of
from eadbench.harness.numbers import parameter_text
from eadbench.harness.plan.grid import Victim
from eadbench.harness.reporting.figures import plotting
from eadbench.harness.reporting.figures.files import slug
from eadbench.harness.reporting.tables.pages import case_name
from eadbench.harness.styles import styles

__all__ = ["draw"]

_QUANTITIES: Mapping[str, Sequence[str]] = {"asr": ("asr",), "distortion": METRICS}
_FIXED = {"beta": ("kappa",), "temperature": ("kappa", "beta"), "kappa": ("beta",)}
"""By axis, the parameters that are constant in a figure. Attacks without such a parameter are in every figure."""


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """The lines of one figure.

    `common` has the labels of their data set, victim, κ and β, and the victim's digest (over the temperature: of the
    first victim).
    """

    lines: pd.DataFrame
    common: Mapping[str, str]

    @property
    def title(self) -> str:
        """The title of the figure, without the victim's digest."""
        return ", ".join([*(text for name, text in self.common.items() if name != "model"), case_name(self.lines)])


def draw(
    summary: pd.DataFrame, victims: Sequence[Victim], *, at_most: int | None = None, paper: pd.DataFrame | None = None
) -> dict[str, Figure]:
    """Draw every figure whose axis has at least two values.

    Parameters
    ----------
    summary
        The result of ``eadbench.harness.analysis.aggregate.summarise``.
    victims
        The victims of the sweep; they order the panels of a transfer figure.
    at_most
        The maximum number of figures per quantity and axis: the first of every victim, then the second, and so on. None
        draws all.
    paper
        The result of ``eadbench.harness.paper.comparison.paper_figures`` for the summary, to draw beside ours.

    Returns
    -------
    Figures by name: ``asr_over_temperature-mnist``. If a data set has several figures, the name also has the
    architecture, victim, κ and β in which they differ.
    """
    average = summary[summary["case"] == "average"].assign(family=family_of)
    if paper is not None:
        average = average.join(paper.add_suffix(plotting.PAPER))
    own = average["model"] == average["evaluated_on"]
    labels, looks = Labels(lines=summary, victims=victims), styles(summary)
    drawn: dict[str, Figure] = {}
    with mpl.rc_context(plotting.STYLE):
        for axis, (quantity, figures) in product(_FIXED, _QUANTITIES.items()):
            subjects = _limit(_subjects(average[own], axis, labels), at_most)
            for name, subject in _by_name(subjects).items():
                panels = [plotting.Panel(lines=subject.lines, axis=axis, figure=figure) for figure in figures]
                drawn[f"{quantity}_over_{axis}-{name}"] = plotting.curves(
                    panels, labels.series, looks, title=subject.title
                )
        subjects = _limit(_subjects(average[~own], "kappa", labels, single_points=True), at_most)
        for name, subject in _by_name(subjects).items():
            panels = _panels_by_target(subject.lines, labels)
            title = f"crafted on {subject.title}"
            drawn[f"transfer_asr_over_kappa-{name}"] = plotting.curves(panels, labels.series, looks, title=title)
    return drawn


def _subjects(lines: pd.DataFrame, axis: str, labels: Labels, *, single_points: bool = False) -> Iterator[_Subject]:
    """Yield the lines of every figure over an axis; `single_points` keeps attacks with one value of the axis."""
    group = ["dataset", "family"] if axis == "temperature" else ["dataset", "model"]
    for _, victim_lines in lines.groupby(group, sort=False):
        on_axis = victim_lines[victim_lines[axis].notna()]
        for setting in _settings(on_axis, _FIXED[axis]) if len(on_axis) else ():
            part = victim_lines
            for name, value in setting.items():
                part = part[(part[name] == value) | part[name].isna()]
            if not single_points:
                part = part[(part.groupby("series")[axis].transform("nunique") > 1) | part[axis].isna()]
            if part[axis].nunique() > 1:
                first = part[part[axis].notna()].iloc[0].to_dict()
                yield _Subject(lines=part, common=_common(first, axis, setting, labels))


def _limit(subjects: Iterable[_Subject], at_most: int | None) -> list[_Subject]:
    """Return at most `at_most` subjects (None: all): the first of every victim, then the second, and so on."""
    if at_most is None:
        return list(subjects)
    counts: Counter[str] = Counter()
    ranked = []
    for subject in subjects:
        victim = subject.common["model"]
        ranked.append((counts[victim], subject))
        counts[victim] += 1
    return [subject for _, subject in sorted(ranked, key=itemgetter(0))][:at_most]


def _settings(lines: pd.DataFrame, names: Sequence[str]) -> Iterator[dict[str, float]]:
    """Yield every combination of the parameters' values; leave out parameters without a value."""
    values = {name: sorted(lines[name].dropna().unique().tolist()) for name in names}
    present = {name: parameter_values for name, parameter_values in values.items() if parameter_values}
    for combination in product(*present.values()):
        yield dict(zip(present, combination, strict=True))


def _common(line: Mapping[Any, Any], axis: str, setting: Mapping[str, float], labels: Labels) -> dict[str, str]:
    """Return what the lines of a figure have in common, from one of them."""
    family = f"{line['arch']}, {family_label(line)}"
    common = {
        "dataset": dataset_label(line["dataset"]),
        "victim": family if axis == "temperature" else labels.victim_details[line["model"]],
        "model": str(line["model"]),
    }
    return common | {name: f"{AXES[name]} = {parameter_text(value)}" for name, value in setting.items()}


def _by_name(subjects: Sequence[_Subject]) -> dict[str, _Subject]:
    """Name subjects by their data set, and by whatever differs between subjects of one data set.

    The victim's digest is part of a name only if two victims have the same label.
    """
    slugs = [{name: slug(text) for name, text in subject.common.items()} for subject in subjects]
    by_name: dict[str, _Subject] = {}
    for parts, subject in zip(slugs, subjects, strict=True):
        same_dataset = [other for other in slugs if other["dataset"] == parts["dataset"]]
        same_label = {other["model"] for other in same_dataset if other["victim"] == parts["victim"]}
        differing = [
            name
            for name, text in parts.items()
            if any(other.get(name) != text for other in same_dataset) and (name != "model" or len(same_label) > 1)
        ]
        by_name["-".join(parts[name] for name in ["dataset", *differing])] = subject
    return by_name


def _panels_by_target(lines: pd.DataFrame, labels: Labels) -> list[plotting.Panel]:
    """Return a panel for every victim tested on, in the order of the victims."""
    tested = set(lines["evaluated_on"])
    order = [digest for digest in labels.victim if digest in tested]
    order += [digest for digest in dict.fromkeys(lines["evaluated_on"]) if digest not in labels.victim]
    names = labels.short_victims(order)
    return [
        plotting.Panel(
            lines=lines[lines["evaluated_on"] == digest], axis="kappa", figure="asr", title=f"tested on {names[digest]}"
        )
        for digest in order
    ]
