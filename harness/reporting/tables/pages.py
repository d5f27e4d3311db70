"""Pages: a summary as tables of printed figures, one per victim and data set, for every renderer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from eadbench.harness.analysis.aggregate import ALL_TARGETS, CASES, FIGURES, GROUPS
from eadbench.harness.labels import AXES, Labels, dataset_label
from eadbench.harness.labels import FIGURES as FIGURE_LABELS
from eadbench.harness.numbers import figure_text, parameter_text, rate_text
from eadbench.harness.plan.grid import Victim

__all__ = ["GROUP_HEADS", "HEADS", "Figure", "Line", "Page", "pages"]

HEADS: Mapping[str, str] = {**AXES, **FIGURE_LABELS}
"""Column heads of parameters and figures."""
GROUP_HEADS: Mapping[str, str] = {case: f"{case} case" for case in CASES} | {"all_targets": "all targets"}


class Figure(NamedTuple):
    """A printed figure, and whether it is the least of its column."""

    text: str
    best: bool


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a table: an attack, its parameters, and its figures by group."""

    attack: str
    parameters: tuple[str, ...]
    figures: Mapping[str, tuple[Figure, ...]]

    def texts(self, groups: Sequence[str], emphasis: str) -> list[str]:
        """Return the figures of the groups in one row, the best ones in `emphasis`, such as ``**{}**``."""
        figures = (figure for group in groups for figure in self.figures[group])
        return [emphasis.format(figure.text) if figure.best else figure.text for figure in figures]


@dataclass(frozen=True, kw_only=True)
class Page:
    """One table: one victim on one data set. ``parameters`` names the parameters that have a column."""

    title: str
    parameters: tuple[str, ...]
    lines: tuple[Line, ...]


def pages(summary: pd.DataFrame, victims: Sequence[Victim]) -> Iterator[Page]:
    """Yield a page per table, data set, victim attacked and victim tested on, in the summary's order."""
    labels = Labels(lines=summary, victims=victims)
    for _, part in summary.groupby(["table", "dataset", "model", "evaluated_on"], sort=False):
        parameters = tuple(name for name in ("beta", "kappa") if part[name].notna().any())
        by_case = {case: part[part["case"] == case] for case in CASES}
        figures = {case: _figures(by_case[case][list(FIGURES)]) for case in CASES}
        figures["all_targets"] = _figures(by_case["best"][list(ALL_TARGETS)].set_axis(list(FIGURES), axis=1))
        lines = tuple(
            Line(
                attack=labels.series[series],
                parameters=tuple(map(parameter_text, values)),
                figures={group: figures[group][index] for group in GROUPS},
            )
            for index, (series, *values) in enumerate(by_case["best"][["series", *parameters]].to_numpy().tolist())
        )
        yield Page(title=_title(part, labels), parameters=parameters, lines=lines)


def _title(part: pd.DataFrame, labels: Labels) -> str:
    """Return the title of a page: data set, victim, number of images, the victim's digest."""
    first = part.iloc[0]
    name = str(first["table"])
    prefix = f"Table {name}: " if name.isdigit() else f"{name}: " if name else ""
    least, most = part["images"].min(), part["images"].max()
    images = f"{most} image{'' if most == 1 else 's'}" if least == most else f"{least} to {most} images"
    victim, tested = first["model"], first["evaluated_on"]
    digests = f"victim {victim}"
    if tested != victim:
        digests = f"crafted on {victim}, tested on {labels.victim_details.get(tested, tested)} ({tested})"
    return f"{prefix}{dataset_label(first['dataset'])}, {labels.victim_details[victim]}, {images}, {digests}"


def _figures(figures: pd.DataFrame) -> list[tuple[Figure, ...]]:
    """Format the lines of a group; mark in every column the least distortion among the lines of highest ASR.

    Only these lines compete: with a lower ASR, the mean is over easier images. Figures are compared before they are
    rounded. A single line is not marked.
    """
    columns = [[Figure(rate_text(value), False) for value in figures["asr"]]]
    competes = (figures["asr"] == figures["asr"].max()) & (len(figures) > 1)
    for name in FIGURES[1:]:
        best = competes & (figures[name] == figures.loc[competes, name].min())
        columns.append([Figure(figure_text(value), mark) for value, mark in zip(figures[name], best, strict=True)])
    return list(zip(*columns, strict=True))
