"""The overview of a study of several victims: one entry per victim and attack, at the attack's strongest β and κ."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from eadbench.harness.analysis.aggregate import METRICS
from eadbench.harness.analysis.selection import CASE
from eadbench.harness.analysis.summary import Summary
from eadbench.harness.labels import FIGURES
from eadbench.harness.numbers import NO_VALUE, figure_text, rate_text

__all__ = ["COLUMNS", "entry_text", "meaning", "overview"]

COLUMNS = (
    *("model", "victim", "series", "label", "name", "metric", "asr", "distance"),
    *("beta", "kappa", "settings", "images", "missing", "cell"),
)
_ENTRY = ["model", "series"]


def overview(summary: Summary) -> pd.DataFrame | None:
    """Return how each attack does on each victim that it attacked; None if the sweep attacks one victim only.

    An entry is about one β and κ: those of the highest ASR in the average case, and of these the least distance.

    Returns
    -------
    DataFrame with the columns ``COLUMNS``: the digest and the short label of the victim; the digest and the label of
    the attack, and its `name` without hyperparameters; `metric`, the distance that the attack minimises (`l1`, `l2` or
    `linf`); the ASR in percent and the mean distance of the average case (NaN without a success); β and κ, and how many
    of them there are; the images that count, and those without all rows; the digest of the cell. The victims are in the
    order of the spec, the attacks in that of the tables.
    """
    lines = summary.own[summary.own["case"] == CASE]
    if lines["model"].nunique() < 2:
        return None
    lines = lines.assign(metric=[_metric(line) for line in lines.to_dict("records")])
    lines["distance"] = [line[line["metric"]] for line in lines.to_dict("records")]
    strongest = lines.sort_values(["asr", "distance"], ascending=[False, True], kind="stable").drop_duplicates(_ENTRY)
    settings = lines.groupby(_ENTRY).size()
    entries = strongest.assign(
        settings=settings.loc[pd.MultiIndex.from_frame(strongest[_ENTRY])].to_numpy(),
        victim=strongest["model"].map(summary.labels.short_victims(_victims(summary, lines))),
        label=strongest["series"].map(summary.labels.series),
        name=[summary.labels.attacks[series].name for series in strongest["series"]],
    )
    places = {
        "model": {digest: place for place, digest in enumerate(_victims(summary, lines))},
        "series": {series: place for place, series in enumerate(lines["series"].drop_duplicates())},
    }
    ordered = entries.sort_values(_ENTRY, key=lambda column: column.map(places[str(column.name)]))
    return ordered[list(COLUMNS)].reset_index(drop=True)


def _victims(summary: Summary, lines: pd.DataFrame) -> list[str]:
    """Return the digests of the victims that lines are about, in the order of the spec."""
    attacked = lines["model"].drop_duplicates().tolist()
    known = [victim.digest for victim in summary.victims if victim.digest in attacked]
    return list(dict.fromkeys([*known, *attacked]))


def _metric(line: Mapping[Any, Any]) -> str:
    """Return the distance that the attack of a line minimises; L2 for C&W, and for the elastic net, mostly L2."""
    return next((str(line[name]) for name in ("decision_rule", "norm") if line[name] in METRICS), "l2")


def entry_text(asr: float, distance: float) -> str:
    """Return an entry as text: ``100 · 1.639``, or the ASR alone without a success."""
    distance_text = figure_text(distance)
    return rate_text(asr) if distance_text == NO_VALUE else f"{rate_text(asr)} · {distance_text}"


def meaning(entries: pd.DataFrame, case: str = "average case") -> str:
    """Return what the entries mean, in a sentence or two; `case` is what the figures are of."""
    attacks = entries.drop_duplicates("name").groupby("metric")["name"].agg(", ".join)
    norms = [f"{FIGURES[str(metric)]}: {names}" for metric, names in attacks.items()]
    which = f"in {FIGURES[str(attacks.index[0])]}" if len(norms) == 1 else f"in the attack's norm ({'; '.join(norms)})"
    text = f"ASR in percent · mean distance of the successes {which}, {case}."
    if (entries["settings"] > 1).any():
        text += " At the β and κ with the highest ASR on the victim, and of these with the least distance."
    return text
