"""The transfer matrix: the ASR of examples crafted on one victim (line) and tested on another (column)."""

from collections.abc import Sequence

import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from eadbench.harness.analysis.aggregate import SETTING
from eadbench.harness.errors import EadbenchError
from eadbench.harness.labels import Labels
from eadbench.harness.numbers import NO_VALUE, parameter_text, rate_text
from eadbench.harness.plan.grid import Victim
from eadbench.harness.spec import Spec

__all__ = [
    "HEADS",
    "PAIR_HEADS",
    "csv",
    "entry_text",
    "matrix",
    "meaning",
    "pair_texts",
    "pairs",
    "terminal",
    "title",
    "victims_tested_on",
]

HEADS = ("cell", "model", "series", "targets", *SETTING)
"""The columns that identify a line of a matrix; the others are digests of victims."""
PAIR_HEADS = ("crafted on", "tested on", "images", "clean error, %")
"""Heads of the lines of :func:`pair_texts`."""


def title(spec: Spec) -> str:
    """Return the title of a matrix."""
    untargeted = " or untargeted" if spec.untargeted else ""
    return f"ASR{f' over every target{untargeted}' if spec.targeted else ', untargeted'}, by victim tested on"


def meaning(spec: Spec) -> str:
    """Return what the rates of a matrix mean."""
    success = "gives it the target class" if spec.targeted else "gives it another class than its own"
    if spec.targeted and spec.untargeted:
        success += " (untargeted: another class than its own)"
    counted = (
        "Only images count that both victims classify correctly without an attack. In brackets: the ASR on all images, "
        "where it differs; there, a success can be the other victim's own clean error."
        if spec.evaluated == "both_correct"
        else "All images count, those too that the other victim misclassifies without an attack."
    )
    return (
        f"{title(spec).partition(', by')[0]}, in percent. On the victim that it was crafted on, an example succeeds if "
        f"it reaches the margin κ; on another, if that victim {success}, by any margin. An attack that fails on its "
        f"own victim leaves no example to transfer, which counts as a failure. {counted}"
    )


def matrix(summary: pd.DataFrame, victims: Sequence[Victim], figure: str = "all_targets_asr") -> pd.DataFrame | None:
    """Return the ASR over every target class, in percent, of each cell (line) on each victim (column).

    Parameters
    ----------
    summary
        The result of ``aggregate.summarise``.
    victims
        The victims of the sweep, in the order of the columns.
    figure
        ``all_targets_asr``; or ``all_images_asr``, on the images too that the victim tested on gets wrong.

    Returns
    -------
    DataFrame with the columns ``HEADS`` and one column per victim's digest, NaN if a cell was not tested on it; None
    if no example was tested on another victim.

    Raises
    ------
    EadbenchError
        A cell has two lines for one victim.
    """
    lines = summary[summary["case"] == "best"]  # every case's line repeats the mean over all targets
    if (lines["model"] == lines["evaluated_on"]).all():
        return None
    duplicates = lines[lines.duplicated(["cell", "evaluated_on"])]
    if len(duplicates):
        cell = duplicates["cell"].iloc[0]
        raise EadbenchError(f"cell {cell} has two lines for one victim; give the rows of one sweep")
    sources = lines.loc[lines["model"] != lines["evaluated_on"], "model"]
    transfers = lines[lines["model"].isin(sources)]
    heads = transfers.drop_duplicates("cell")[list(HEADS)].reset_index(drop=True)
    rates = transfers.pivot(index="cell", columns="evaluated_on", values=figure).loc[heads["cell"]]
    digests = [victim.digest for victim in victims]
    order = sorted(rates.columns, key=lambda digest: digests.index(digest) if digest in digests else len(digests))
    return pd.concat([heads, rates[order].reset_index(drop=True)], axis=1)


def victims_tested_on(matrix: pd.DataFrame) -> list[str]:
    """Return the digests that are columns of a matrix."""
    return [str(column) for column in matrix.columns if column not in HEADS]


def entry_text(rate: float, on_all_images: float) -> str:
    """Return an entry of a matrix: ``54.2``, or ``54.2 (62.5)`` if the ASR on all images differs."""
    if pd.isna(rate) and pd.isna(on_all_images):
        return ""
    text, on_all = rate_text(rate), rate_text(on_all_images)
    return text if pd.isna(on_all_images) or on_all == text else f"{text} ({on_all})"


def pairs(summary: pd.DataFrame, victims: Sequence[Victim]) -> pd.DataFrame:
    """Return a line per pair of victims, in the order of the victims.

    Returns
    -------
    DataFrame with the columns `model` and `evaluated_on`; `least` and `most`, the images that count in a cell; and
    `clean_error`, the percentage of the attacked images that the victim tested on gets wrong without an attack.
    """
    lines = summary[(summary["case"] == "best") & (summary["model"] != summary["evaluated_on"])]
    order = {victim.digest: position for position, victim in enumerate(victims)}
    groups = lines.groupby(["model", "evaluated_on"], sort=False)
    counts = groups.agg(least=("images", "min"), most=("images", "max"), clean_error=("clean_error", "max"))
    places = [tuple(order.get(digest, len(order)) for digest in pair) for pair in counts.index]
    return counts.reset_index().iloc[sorted(range(len(places)), key=places.__getitem__)].reset_index(drop=True)


def pair_texts(summary: pd.DataFrame, victims: Sequence[Victim], labels: Labels) -> list[list[str]]:
    """Return the texts of :func:`pairs`, under the heads ``PAIR_HEADS``."""
    frame = pairs(summary, victims)
    names = labels.short_victims([*frame["model"], *frame["evaluated_on"]])
    return [
        [
            names[line["model"]],
            names[line["evaluated_on"]],
            f"{line['most']}" if line["least"] == line["most"] else f"{line['least']} to {line['most']}",
            NO_VALUE if pd.isna(line["clean_error"]) else rate_text(line["clean_error"]),
        ]
        for line in frame.to_dict("records")
    ]


def csv(summary: pd.DataFrame, victims: Sequence[Victim], labels: Labels) -> str:
    """Return a matrix as CSV, with the labels of its victims and attacks.

    Each victim tested on has a column called by its digest, and further columns: the number of images that count, the
    ASR on all images, and the victim's clean error on them.
    """
    rates = matrix(summary, victims)
    if rates is None:
        return ""
    lines = summary[summary["case"] == "best"]
    digests = victims_tested_on(rates)
    further = {
        f"{digest}_{figure}": lines[lines["evaluated_on"] == digest].set_index("cell")[figure].reindex(rates["cell"])
        for digest in digests
        for figure in ("images", "all_images_asr", "clean_error")
    }
    labelled = rates.assign(
        crafted_on=rates["model"].map(labels.victim),
        label=rates["series"].map(labels.series),
        **{name: column.to_numpy() for name, column in further.items()},
    )
    columns = ["crafted_on", "label", "targets", *SETTING, "model", "cell", *digests, *further]
    return str(labelled[columns].to_csv(index=False, lineterminator="\n"))


def terminal(summary: pd.DataFrame, victims: Sequence[Victim], labels: Labels, spec: Spec) -> Group | None:
    """Render the matrix for a terminal, and below it the images of each pair of victims; None without a transfer."""
    rates, on_all = (matrix(summary, victims, figure) for figure in ("all_targets_asr", "all_images_asr"))
    if rates is None or on_all is None:
        return None
    table = Table(title=title(spec), title_style="italic", title_justify="left", box=box.SIMPLE_HEAD)
    for head in ("crafted on", "attack", "β", "κ"):
        table.add_column(head)
    targets = victims_tested_on(rates)
    names = labels.short_victims([*targets, *rates["model"]])
    for digest in targets:
        table.add_column(Text(names[digest]), justify="right")
    for line, all_images in zip(rates.to_dict("records"), on_all.to_dict("records"), strict=True):
        table.add_row(
            Text(names[line["model"]]),
            Text(labels.series[line["series"]]),
            parameter_text(line["beta"]),
            parameter_text(line["kappa"]),
            *(entry_text(line[digest], all_images[digest]) for digest in targets),
        )
    images = Table(*PAIR_HEADS, box=box.SIMPLE_HEAD)
    for column in images.columns[2:]:
        column.justify = "right"
    for texts in pair_texts(summary, victims, labels):
        images.add_row(*map(Text, texts))
    return Group(table, images, Text(meaning(spec), style="dim"))
