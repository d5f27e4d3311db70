"""What the rows of a cell say against their own figures.

Searches that ended at an end of c, gradients or logits that are not finite, successes that do not last on a random
victim.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import pandas as pd

from eadbench.harness.labels import Labels, series_of

__all__ = ["COLUMNS", "Tally", "texts"]

COLUMNS = ("success", "const_end", "nonfinite", "survival")
"""The columns that a tally counts."""
NAMED = 4
"""Cells that a sentence names; it counts the others."""

_COUNTS = ("examples", "successes", "least", "greatest", "nonfinite", "random", "surviving")


class Tally:
    """Counts by line, taken from batches of rows while they pass by."""

    def __init__(self) -> None:
        self._parts: list[pd.DataFrame] = []

    def watched(self, batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Yield every batch of rows, with the columns `COLUMNS` and `line`, after it is counted."""
        for batch in batches:
            marks = pd.DataFrame(
                {
                    "line": batch["line"],
                    "examples": 1,
                    "successes": batch["success"],
                    "least": batch["const_end"] == "least",
                    "greatest": batch["const_end"] == "greatest",
                    "nonfinite": batch["nonfinite"].fillna(0) > 0,
                    "random": batch["survival"].notna(),
                    "surviving": batch["survival"].fillna(0.0),
                }
            )
            self._parts.append(marks.astype(dict.fromkeys(_COUNTS, "float64")).groupby("line").sum())
            yield batch

    def counts(self, lines: pd.DataFrame) -> pd.DataFrame:
        """Return the lines that have rows, with their counts, in the order of `lines`."""
        if not self._parts:
            return lines.iloc[:0].assign(**dict.fromkeys(_COUNTS, 0.0))
        counted = lines.join(pd.concat(self._parts), how="inner")
        return counted.assign(series=series_of(counted))


def texts(counts: pd.DataFrame, labels: Labels) -> list[str]:
    """Return a sentence for each victim and kind of caution; it begins with the victim's label.

    Parameters
    ----------
    counts
        What :meth:`Tally.counts` returns.
    """
    own = counts[counts["model"] == counts["evaluated_on"]]
    search = ["model", "targets", "attack", "norm", "parameters", "beta", "kappa"]  # decision rules share it
    searches = own.drop_duplicates(search)
    crafted = [
        f"{labels.victim[str(victim)]}: {sentence}"
        for victim, lines in own.groupby("model", sort=False)
        for sentence in _sentences(lines, searches[searches["model"] == victim], labels)
    ]
    others = counts[(counts["model"] != counts["evaluated_on"]) & (counts["nonfinite"] > 0)]
    return crafted + [
        f"{labels.victim[str(victim)]}: {_TRANSFER_CAUTION}: {_cells(lines, labels, partial(_share, 'nonfinite'))}"
        for victim, lines in others.groupby("evaluated_on", sort=False)
    ]


def _sentences(lines: pd.DataFrame, searches: pd.DataFrame, labels: Labels) -> Iterator[str]:
    """Yield the sentences about a victim's lines."""
    for name, sentence in _SEARCH_CAUTIONS.items():
        if cells := _cells(searches[searches[name] > 0], labels, partial(_share, name)):
            yield f"{sentence}: {cells}"
    if cells := _cells(lines[lines["random"] > 0], labels, _survival):
        yield f"it is random; share of the successes that hold on a fresh draw of its noise: {cells}"


_SEARCH_CAUTIONS: Mapping[str, str] = {
    "least": (
        "every c of the search succeeded, down to the least that its steps reach, so distances may be too great; give "
        "a lower initial_const or more binary_search_steps; examples"
    ),
    "greatest": "no c of the search succeeded, up to the greatest that its steps reach; examples",
    "nonfinite": (
        "gradients were not finite in some pixels, which counted as 0; look for a root or a logarithm of 0; examples"
    ),
}
_TRANSFER_CAUTION = "its logits are not finite on examples of other victims, which count as failures"


def _cells(lines: pd.DataFrame, labels: Labels, figure: Callable[[Mapping[Any, Any]], str]) -> str:
    """Return the first lines with their figures, and how many others there are."""
    named = [f"{labels.setting(line)}: {figure(line)}" for line in lines.head(NAMED).to_dict("records")]
    others = len(lines) - len(named)
    return "; ".join([*named, f"and {others} more cells"] if others else named)


def _share(name: str, line: Mapping[Any, Any]) -> str:
    return f"{line[name]:.0f} of {line['examples']:.0f}"


def _survival(line: Mapping[Any, Any]) -> str:
    asr = 100 * line["successes"] / line["examples"]
    return f"{100 * line['surviving'] / line['random']:.0f} % (ASR {asr:.0f} %)"
