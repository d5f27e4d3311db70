"""Compare two sweeps cell by cell: match cells of the same setting, then compare figures on shared examples.

Cells without a shared example are compared by their means, unpaired.

Two cells match if they agree in data set, attack, norm, decision rule, β and κ, and in their victim's architecture and
defence. If several cells of a sweep agree in all of these, their other hyperparameters and the choice of their targets
decide, then either alone, then their digests. Two examples are the same if they agree in split, image and target.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from eadbench.harness.analysis import unpaired
from eadbench.harness.analysis.aggregate import FIGURES, METRICS
from eadbench.harness.analysis.paired import Change, holm, rates, values
from eadbench.harness.labels import OWN, Labels, dataset_label, series_of, value_text
from eadbench.harness.parquet.stored import StoredRows
from eadbench.harness.plan.grid import Victim
from eadbench.models import canonical_json

__all__ = ["Comparison", "Matched", "Pair", "compare", "match", "table"]

_SETTING = [
    *("dataset", "arch", "defense", "defense_parameters", "attack", "norm", "decision_rule", "beta", "kappa", "tested"),
]
"""The columns in which two matching lines agree."""
_EXAMPLE = ["pair", "split", "image", "target"]
"""The columns in which two rows of one example agree."""
_CHANGE_COLUMNS = ("before", "after", "difference", "low", "high", "p", "count", "same")
_INTERVALS = ("before_low", "before_high", "after_low", "after_high")
_MAX_ROWS = 2**20
"""Rows of both sweeps in memory at once, unless a single pair has more."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A line of the first sweep (`before`) and its match in the second (`after`), by line number."""

    victim: str
    setting: str
    tested: str
    before: int
    after: int


@dataclass(frozen=True, kw_only=True)
class Matched:
    """The matching lines of two sweeps."""

    pairs: Sequence[Pair]
    alone: int
    """Lines without a match, in either sweep."""
    unclear: int
    """Lines with several possible matches, for example two networks that differ only in the seed."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The changes between two matching lines, on the examples that both have.

    If they have none in common, the figures are those of all examples of each (`others`: of the second line), unpaired.
    """

    pair: Pair
    examples: int
    images: int
    changes: Mapping[str, Change]
    """By figure: asr, l1, l2, linf."""
    others: int = 0

    @property
    def paired(self) -> bool:
        """Whether the figures are of the same examples."""
        return self.others == 0


def match(
    before: pd.DataFrame, victims_before: Sequence[Victim], after: pd.DataFrame, victims_after: Sequence[Victim]
) -> Matched:
    """Match the lines of two sweeps.

    Lines of one setting match if they have the same hyperparameters, then if they are the same cell.

    Parameters
    ----------
    before, after
        The lines of each sweep, from `StoredRows.lines`.
    victims_before, victims_after
        The victims of each sweep.
    """
    first, second = _Sweep(before, victims_before), _Sweep(after, victims_after)
    groups_before, groups_after = first.lines_by_setting(), second.lines_by_setting()
    numbers: list[tuple[int, int]] = []
    unclear = alone = 0
    for setting in dict.fromkeys([*groups_before, *groups_after]):
        ours, theirs = list(groups_before.get(setting, ())), list(groups_after.get(setting, ()))
        if not ours or not theirs:
            alone += len(ours) + len(theirs)
            continue
        matches = _match_group(first.lines.loc[ours], second.lines.loc[theirs])
        numbers += matches
        unclear += len(ours) + len(theirs) - 2 * len(matches)
    pairs = [first.pair(*match, second.parameters(match[1])) for match in sorted(numbers)]
    return Matched(pairs=pairs, alone=alone, unclear=unclear)


def _match_group(before: pd.DataFrame, after: pd.DataFrame) -> list[tuple[int, int]]:
    """Match the lines of one setting by number: the only two, or the pairs that agree in further columns."""
    if len(before) == len(after) == 1:
        return [(int(before.index[0]), int(after.index[0]))]
    for columns in (["parameters", "targets"], ["targets"], ["parameters"], ["cell", "evaluated_on"]):
        both = before.reset_index().merge(after.reset_index(), on=columns, suffixes=("_before", "_after"))
        unique = both[~both["number_before"].duplicated(keep=False) & ~both["number_after"].duplicated(keep=False)]
        if len(unique) and len(unique) == len(both):
            return list(zip(unique["number_before"].tolist(), unique["number_after"].tolist(), strict=True))
    return []


class _Sweep:
    """The lines of one sweep, with the columns that are matched, and their labels."""

    def __init__(self, lines: pd.DataFrame, victims: Sequence[Victim]) -> None:
        kinds = {victim.digest: _kind(victim.arch, victim.defense, victim.defense_parameters) for victim in victims}
        tested = [
            OWN if target == model else kinds.get(target, target)
            for target, model in zip(lines["evaluated_on"], lines["model"], strict=True)
        ]
        lines = lines.assign(tested=tested, series=series_of(lines))
        setting = lines[_SETTING].astype(object).where(lines[_SETTING].notna(), None)
        keys = [canonical_json(list(key)) for key in setting.itertuples(index=False, name=None)]
        self.lines = lines.assign(setting=keys).rename_axis("number")
        self._labels = Labels(lines=self.lines, victims=victims)

    def lines_by_setting(self) -> Mapping[Any, Any]:
        """Return the line numbers of every setting."""
        return self.lines.groupby("setting", sort=False).groups

    def parameters(self, line: int) -> Mapping[str, Any]:
        """Return the hyperparameters of a line that have no column."""
        return dict(json.loads(str(self.lines.loc[line, "parameters"] or "{}")))

    def pair(self, before: int, after: int, theirs: Mapping[str, Any]) -> Pair:
        """Return two matching lines as a pair, with the labels of this sweep, which has the line `before`.

        Hyperparameters that differ from `theirs`, those of the line `after`, are appended.
        """
        line, ours = self.lines.loc[before].to_dict(), self.parameters(before)
        tested = line["evaluated_on"]
        changes = [
            f"{name} {value_text(ours.get(name))} → {value_text(theirs.get(name))}"
            for name in dict.fromkeys([*ours, *theirs])
            if ours.get(name) != theirs.get(name)
        ]
        return Pair(
            victim=f"{dataset_label(line['dataset'])}, {self._labels.victim[line['model']]}",
            setting=", ".join([self._labels.setting(line), *changes]),
            tested=OWN if tested == line["model"] else self._labels.victim.get(tested, tested),
            before=before,
            after=after,
        )


def _kind(arch: str, defense: str, parameters: Mapping[str, Any]) -> str:
    return canonical_json([arch, defense, dict(parameters)])


def compare(pairs: Sequence[Pair], before: StoredRows, after: StoredRows) -> Iterator[Comparison]:
    """Compare matching lines, with the rows of a few lines in memory at a time."""
    for batch in _batches(pairs, before.lines["rows"], after.lines["rows"]):
        rows_before = _rows(before, [pair.before for pair in batch])
        rows_after = _rows(after, [pair.after for pair in batch])
        shared = rows_before.merge(rows_after, on=_EXAMPLE, suffixes=("_before", "_after"))
        groups = dict(list(shared.groupby("pair")))
        for index, pair in enumerate(batch):
            sides = [rows[rows["pair"] == index] for rows in (rows_before, rows_after)]
            if index in groups or any(side.empty for side in sides):
                yield _compare_pair(pair, groups.get(index, shared.iloc[:0]))
            else:
                yield _compare_unpaired(pair, *sides)


def _rows(stored: StoredRows, numbers: Sequence[int]) -> pd.DataFrame:
    """Read the rows of some lines; the column `pair` is the position of a row's line in `numbers`."""
    rows = stored.read(["split", "image", "target", "success", *METRICS], numbers)
    return rows.assign(pair=rows["line"].map({number: index for index, number in enumerate(numbers)}))


def _batches(pairs: Sequence[Pair], rows_before: pd.Series, rows_after: pd.Series) -> Iterator[list[Pair]]:
    """Split pairs into batches of at most `_MAX_ROWS` rows."""
    batch: list[Pair] = []
    total = 0
    for pair in pairs:
        rows = int(rows_before[pair.before] + rows_after[pair.after])
        if batch and total + rows > _MAX_ROWS:
            yield batch
            batch, total = [], 0
        batch.append(pair)
        total += rows
    if batch:
        yield batch


def _compare_pair(pair: Pair, shared: pd.DataFrame) -> Comparison:
    """Compare two lines on their shared examples."""
    image_names = shared["split"].astype(str) + "/" + shared["image"].astype(str)
    images, distinct = pd.factorize(image_names)
    sides = ("before", "after")
    before, after = (shared[f"success_{side}"].to_numpy(dtype=np.bool_) for side in sides)
    changes = {"asr": rates(images, before, after)}
    for metric in METRICS:
        distances = (shared[f"{metric}_{side}"].to_numpy(dtype=np.float64, na_value=np.nan) for side in sides)
        changes[metric] = values(images, before, after, *distances)
    return Comparison(pair=pair, examples=len(shared), images=len(distinct), changes=changes)


def _compare_unpaired(pair: Pair, before: pd.DataFrame, after: pd.DataFrame) -> Comparison:
    """Compare two lines that have no example in common."""
    figures = [_means(rows) for rows in (before, after)]
    return Comparison(
        pair=pair,
        examples=len(before),
        images=len(before.drop_duplicates(["split", "image"])),
        changes={name: unpaired.change(*(means[name] for means in figures)) for name in FIGURES},
        others=len(after),
    )


def _means(rows: pd.DataFrame) -> Mapping[str, unpaired.Mean]:
    """Return the figures of the rows of a line."""
    images = rows.groupby(["split", "image"], sort=False).ngroup().to_numpy().astype(np.int64)
    success = rows["success"].to_numpy(dtype=np.bool_)
    distances = {metric: rows[metric].to_numpy(dtype=np.float64, na_value=np.nan) for metric in METRICS}
    means = {metric: unpaired.mean_distance(images, success, values) for metric, values in distances.items()}
    return {"asr": unpaired.rate(images, success), **means}


def table(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """Return a line per comparison, with every figure before and after, and their difference.

    Each figure has these columns:

    - `difference`, with the ends `low` and `high` of its interval;
    - `p`, and `adjusted`, which is p adjusted for all tests of the table;
    - `change`, the sort key: percentage points for the ASR, percent of the value before for a distortion;
    - without a shared example, the ends of the intervals of both means: `before_low`, `before_high`, `after_low`,
      `after_high`;
    - `count`, the number of examples: for a distortion, those on which both succeed;
    - `same`, whether the value is the same on every shared example.

    `largest` is the largest absolute `change` of the line, and `same` whether all of its figures are the same. `others`
    is 0, or the number of examples of the second sweep if none is shared; `examples` is that of the first then.
    """
    lines = []
    for comparison in comparisons:
        pair = comparison.pair
        line: dict[str, object] = {"victim": pair.victim, "setting": pair.setting, "tested": pair.tested}
        line |= {"examples": comparison.examples, "images": comparison.images, "others": comparison.others}
        line["same"] = all(change.same for change in comparison.changes.values())
        for figure, change in comparison.changes.items():
            columns = {name: getattr(change, name) for name in _CHANGE_COLUMNS}
            relative = 100 * change.difference / change.before if change.before else np.nan
            columns["change"] = change.difference if figure == "asr" else relative
            columns |= dict(zip(_INTERVALS, (*change.interval_before, *change.interval_after), strict=True))
            line |= {f"{figure}_{name}": value for name, value in columns.items()}
        lines.append(line)
    names = [f"{figure}_{name}" for figure in FIGURES for name in (*_CHANGE_COLUMNS, "change", *_INTERVALS)]
    frame = pd.DataFrame(lines, columns=["victim", "setting", "tested", "examples", "images", "others", "same", *names])
    adjusted = holm(frame[[f"{figure}_p" for figure in FIGURES]].to_numpy(dtype=np.float64).ravel().tolist())
    for index, figure in enumerate(FIGURES):
        frame[f"{figure}_adjusted"] = adjusted.reshape(len(frame), len(FIGURES))[:, index]
    return frame.assign(largest=frame[[f"{figure}_change" for figure in FIGURES]].astype("float64").abs().max(axis=1))
