"""Pages: a summary as tables of printed figures, one per victim and data set, for every renderer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from eadbench.harness.analysis.aggregate import ALL_TARGETS, CASES, FIGURES, GROUPS
from eadbench.harness.labels import AXES, Labels, dataset_label, targets_label
from eadbench.harness.labels import FIGURES as FIGURE_LABELS
from eadbench.harness.numbers import figure_text, parameter_text, rate_text
from eadbench.harness.plan.grid import Victim

__all__ = [
    "HEADS",
    "MARK",
    "Figure",
    "Line",
    "Page",
    "best_figures",
    "case_name",
    "group_heads",
    "group_of_one_case",
    "missing_text",
    "pages",
    "targets_of",
]

MARK = "†"
"""What marks a line with images that lack rows."""

HEADS: Mapping[str, str] = {**AXES, **FIGURE_LABELS}
"""Column heads of parameters and figures."""
_GROUP_HEADS: Mapping[str, str] = {case: f"{case} case" for case in CASES} | {"all_targets": "all targets"}


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
    one_case: str | None = None
    """What the case of a line is called whose images have one target, or none; its groups have the same figures."""

    def cells(self, group: str, groups: Sequence[str]) -> tuple[Figure, ...]:
        """Return the figures of a group of a table of `groups`; a line of one case has them once, and empty cells."""
        empty = self.one_case is not None and group != group_of_one_case(groups)
        return (Figure("", False),) * len(FIGURES) if empty else self.figures[group]

    def texts(self, groups: Sequence[str], emphasis: str) -> list[str]:
        """Return the figures of the groups in one row, the best ones in `emphasis`, such as ``**{}**``."""
        figures = (figure for group in groups for figure in self.cells(group, groups))
        return [emphasis.format(figure.text) if figure.best else figure.text for figure in figures]


@dataclass(frozen=True, kw_only=True)
class Page:
    """One table: one victim on one data set. ``parameters`` names the parameters that have a column."""

    title: str
    heads: Mapping[str, str]
    """The heads of the groups of figures."""
    parameters: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    """Sentences to stand below the table."""


def pages(summary: pd.DataFrame, victims: Sequence[Victim]) -> Iterator[Page]:
    """Yield a page per table, data set, victim attacked and victim tested on, in the summary's order."""
    labels = Labels(lines=summary, victims=victims)
    for _, part in summary.groupby(["table", "dataset", "model", "evaluated_on"], sort=False):
        parameters = tuple(name for name in ("beta", "kappa") if part[name].notna().any())
        by_case = {case: part[part["case"] == case] for case in CASES}
        complete = (by_case["best"]["missing"] == 0).tolist()
        figures = {case: _figures(by_case[case][list(FIGURES)], by_case[case]) for case in CASES}
        all_targets = by_case["best"][list(ALL_TARGETS)].set_axis(list(FIGURES), axis=1)
        figures["all_targets"] = _figures(all_targets, by_case["best"])
        columns = _varying(by_case["best"], parameters, labels)
        lines = tuple(
            Line(
                attack=_attack(series, columns, labels) + ("" if complete[index] else MARK),
                parameters=(
                    *(labels.attacks[series].details.get(name, "") for name in columns),
                    *map(parameter_text, values),
                ),
                figures={group: figures[group][index] for group in GROUPS},
                one_case=("untargeted" if targets == "untargeted" else "one target") if per_image == 1 else None,
            )
            for index, (series, targets, per_image, *values) in enumerate(
                by_case["best"][["series", "targets", "targets_per_image", *parameters]].to_numpy().tolist()
            )
        )
        notes = missing_text(by_case["best"])
        yield Page(
            title=_title(part, labels, victims),
            heads=group_heads(part),
            parameters=(*columns, *parameters),
            lines=lines,
            notes=(notes,) if notes else (),
        )


def _varying(lines: pd.DataFrame, parameters: Sequence[str], labels: Labels) -> tuple[str, ...]:
    """Return the hyperparameters that get a column: single values that vary, if the columns tell the lines apart."""
    attacks = [labels.attacks[series] for series in lines["series"]]
    lists = {name for attack in attacks for name in attack.lists}
    columns = tuple(dict.fromkeys(name for attack in attacks for name in attack.details if name not in lists))
    texts = [(attack.without(columns), *(attack.details.get(name) for name in columns)) for attack in attacks]
    values = lines[list(parameters)].itertuples(index=False, name=None)
    keys = {(*text, *map(str, value)) for text, value in zip(texts, values, strict=True)}
    return columns if len(keys) == len(lines) else ()


def _attack(series: str, columns: Sequence[str], labels: Labels) -> str:
    """Return the label of an attack, without the hyperparameters that have columns."""
    return labels.attacks[series].without(columns) if columns else labels.series[series]


def group_heads(lines: pd.DataFrame) -> Mapping[str, str]:
    """Return the heads of a table's groups of figures: one group where each image has one target, or none."""
    if lines["targets_per_image"].max() > 1:
        return _GROUP_HEADS
    untargeted = lines["targets"] == "untargeted"
    if untargeted.all():
        return {"average": "untargeted"}
    return {"average": "one target each, or none" if untargeted.any() else "one target each"}


def group_of_one_case(groups: Sequence[str]) -> str:
    """Return the group of a table that has the figures of a line of one case: the average case, if it is there."""
    return "average" if "average" in groups else groups[0]


def case_name(lines: pd.DataFrame) -> str:
    """Return the case of figures that are of one case: ``average case``, or the one that there is, ``untargeted``."""
    heads = group_heads(lines)
    return "average case" if len(heads) > 1 else heads["average"]


def missing_text(lines: pd.DataFrame) -> str:
    """Return the sentence that explains marked lines of a summary; empty if no line is marked."""
    missing = lines.loc[lines["missing"] > 0, "missing"]
    if missing.empty:
        return ""
    least, most = missing.min(), missing.max()
    count = f"{most}" if least == most else f"{least} to {most}"
    return (
        f"{MARK} {count} image{'' if most == 1 else 's'} without all rows: left out of the best, average and worst "
        "case; the line does not compete for the least distortion. Run the sweep again to complete it."
    )


def _title(part: pd.DataFrame, labels: Labels, victims: Sequence[Victim]) -> str:
    """Return the title of a page: data set, victim and its accuracy, number of images, the victim's digest."""
    first = part.iloc[0]
    name = str(first["table"])
    prefix = f"Table {name}: " if name.isdigit() else f"{name}: " if name else ""
    least, most = part["images"].min(), part["images"].max()
    images = f"{most} image{'' if most == 1 else 's'}" if least == most else f"{least} to {most} images"
    images = f"{images}, {targets_of(part)}"
    victim, tested = first["model"], first["evaluated_on"]
    digests = f"victim {victim}"
    if tested != victim:
        digests = f"crafted on {victim}, tested on {labels.victim_details.get(tested, tested)} ({tested})"
    known = next((each.accuracy for each in victims if each.digest == victim and each.accuracy is not None), None)
    accuracy = "" if known is None else f", accuracy {100 * known:.2f} %"
    return f"{prefix}{dataset_label(first['dataset'])}, {labels.victim_details[victim]}{accuracy}, {images}, {digests}"


def targets_of(lines: pd.DataFrame) -> str:
    """Return the targets of each image: ``all 9 targets each``, ``untargeted and 3 random targets each``."""
    counts = lines.groupby("targets", sort=False)["targets_per_image"].max()
    *others, last = (targets_label(str(kind), count) for kind, count in counts.items())
    return " and ".join(filter(None, [", ".join(others), last]))


def _figures(figures: pd.DataFrame, lines: pd.DataFrame) -> list[tuple[Figure, ...]]:
    """Format the figures of a group, and mark the best ones among the lines that are complete."""
    best = best_figures(figures, lines)
    columns = [
        [
            Figure(rate_text(value) if name == "asr" else figure_text(value), mark)
            for value, mark in zip(figures[name], best[name], strict=True)
        ]
        for name in FIGURES
    ]
    return list(zip(*columns, strict=True))


def best_figures(figures: pd.DataFrame, lines: pd.DataFrame) -> pd.DataFrame:
    """Mark the best figures of each column: the least distortion among the complete lines of the highest ASR.

    A line of a lower ASR does not compete, because its mean is over easier images. Lines compete with those of the same
    targets. Figures are compared before they are rounded. A single line has no rival, and no mark.

    Parameters
    ----------
    lines
        The lines of a summary that the figures are of, in the same order.
    """
    marks = pd.DataFrame(False, index=figures.index, columns=list(FIGURES))
    complete, targets = (lines["missing"] == 0).to_numpy(), lines["targets"].to_numpy()
    for choice in dict.fromkeys(targets):
        rivals = pd.Series(complete & (targets == choice), index=figures.index)
        top = rivals & (figures["asr"] == figures.loc[rivals, "asr"].max()) & (rivals.sum() > 1)
        for name in FIGURES[1:]:
            marks[name] |= top & (figures[name] == figures.loc[top, name].min())
    return marks
