"""Two sweeps, cell by cell: which cells are the same setting, and how their figures differ on shared examples.

A cell of one sweep is that of another if it is the same in words: attack, decision rule, β and κ, on a victim of the
same architecture, defence and temperature. An example is another's if it is the same image, of the same split, and
target.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eadbench.harness.analysis.aggregate import FIGURES, METRICS, attack_name, dataset_name, rule_name
from eadbench.harness.analysis.paired import Change, holm, rates, values
from eadbench.harness.labels import OWN, defense_text, parameter_text, series_name, setting_text
from eadbench.harness.parquet.stored import StoredRows
from eadbench.harness.plan.grid import Victim

__all__ = ["Compared", "Matched", "Pair", "compare", "match", "table"]

_EXAMPLE = ["pair", "split", "image", "target"]
_PARTS = ("before", "after", "difference", "low", "high", "p")
_AT_ONCE = 2**20


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A line of one sweep, and the same of another, by their numbers."""

    victim: str
    setting: str
    tested: str
    before: int
    after: int


@dataclass(frozen=True, kw_only=True)
class Matched:
    """Which lines of two sweeps are the same."""

    pairs: Sequence[Pair]
    alone: int
    """Lines of either that the other has not."""
    unclear: int
    """Lines whose words are those of several in one sweep, such as of two networks of one recipe but for the seed."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What differs between two lines on the examples that both have."""

    pair: Pair
    examples: int
    images: int
    changes: Mapping[str, Change]
    """By figure: asr, l1, l2, linf."""


def match(
    before: pd.DataFrame, victims_before: Sequence[Victim], after: pd.DataFrame, victims_after: Sequence[Victim]
) -> Matched:
    """Match lines, as `StoredRows.lines` has them, of two sweeps and their victims.

    Of lines with the same words in one sweep, those are matched that have the other's very cell and victim.
    """
    sides = [_by_words(before, victims_before), _by_words(after, victims_after)]
    pairs, unclear = [], 0
    for words in sides[0].keys() & sides[1].keys():
        first, second = sides[0][words], sides[1][words]
        if len(first) == len(second) == 1:
            found = [(first[0], second[0])]
        else:
            found = [(one, other) for one in first for other in second if _cell(before, one) == _cell(after, other)]
            unclear += len(first) + len(second) - 2 * len(found)
        victim, setting, tested = words
        pairs += [Pair(victim=victim, setting=setting, tested=tested, before=a, after=b) for a, b in found]
    either = sides[0] | sides[1]
    alone = sum(len(either[words]) for words in sides[0].keys() ^ sides[1].keys())
    return Matched(pairs=sorted(pairs, key=lambda pair: pair.before), alone=alone, unclear=unclear)


def _by_words(lines: pd.DataFrame, victims: Sequence[Victim]) -> dict[tuple[str, str, str], list[int]]:
    """Lines by what they are: the victim, the attack with its parameters, and the victim tested on."""
    called = {victim.digest: _victim_text(victim.arch, victim.defense, victim.temperature) for victim in victims}
    found: dict[tuple[str, str, str], list[int]] = {}
    for number, line in zip(lines.index.tolist(), lines.to_dict("records"), strict=True):
        series = series_name(
            attack_name(line["attack"], line["norm"]), rule_name(line["attack"], line["decision_rule"])
        )
        victim = _victim_text(line["arch"], line["defense"], line["temperature"])
        tested = line["evaluated_on"]
        words = (
            f"{dataset_name(line['dataset'])}, {victim}",
            setting_text(series, *(parameter_text(_number(line[name])) for name in ("beta", "kappa"))),
            OWN if tested == line["model"] else called.get(tested, tested),
        )
        found.setdefault(words, []).append(int(number))
    return found


def _victim_text(arch: str, defense: str, temperature: float | None) -> str:
    return f"{arch}, {defense_text(defense, None if temperature is None else _number(temperature))}"


def _number(value: object) -> float:
    return np.nan if value is None or value is pd.NA else float(str(value))


def _cell(lines: pd.DataFrame, number: int) -> tuple[object, object]:
    return lines.at[number, "cell"], lines.at[number, "evaluated_on"]


def compare(pairs: Sequence[Pair], before: StoredRows, after: StoredRows) -> Iterator[Compared]:
    """Compare matched lines on the examples that both have, holding some lines' rows at a time."""
    for some in _batches(pairs, before.lines["rows"], after.lines["rows"]):
        sides = []
        for rows, numbers in ((before, [pair.before for pair in some]), (after, [pair.after for pair in some])):
            found = rows.read(["split", "image", "target", "success", *METRICS], numbers)
            sides.append(found.assign(pair=found["line"].map({number: i for i, number in enumerate(numbers)})))
        both = sides[0].merge(sides[1], on=_EXAMPLE, suffixes=("_before", "_after"))
        shared = dict(list(both.groupby("pair")))
        yield from (_compared(pair, shared.get(i, both.iloc[:0])) for i, pair in enumerate(some))


def _batches(pairs: Sequence[Pair], before: pd.Series, after: pd.Series) -> Iterator[list[Pair]]:
    batch: list[Pair] = []
    held = 0
    for pair in pairs:
        rows = int(before[pair.before] + after[pair.after])
        if batch and held + rows > _AT_ONCE:
            yield batch
            batch, held = [], 0
        batch.append(pair)
        held += rows
    if batch:
        yield batch


def _compared(pair: Pair, shared: pd.DataFrame) -> Compared:
    """Two lines on the examples that both have."""
    name = shared["split"].astype(str) + "/" + shared["image"].astype(str)
    images, distinct = pd.factorize(name)
    first, second = (shared[f"success_{side}"].to_numpy(dtype=np.bool_) for side in ("before", "after"))
    changes = {"asr": rates(images, first, second)}
    for metric in METRICS:
        sides = (shared[f"{metric}_{side}"].to_numpy(dtype=np.float64, na_value=np.nan) for side in ("before", "after"))
        changes[metric] = values(images, first & second, *sides)
    return Compared(pair=pair, examples=len(shared), images=len(distinct), changes=changes)


def table(compared: Sequence[Compared]) -> pd.DataFrame:
    """A line of each comparison, with every figure before and after, and how they differ.

    Of each figure: `difference` with the ends of its interval, `low` and `high`; `p`, and `adjusted` for all tests of
    the table; and `change`, by which lines are sorted: points of ASR, and percent of a distortion before. `largest` is
    the greatest of these in size.
    """
    lines = []
    for one in compared:
        pair = one.pair
        line: dict[str, object] = {"victim": pair.victim, "setting": pair.setting, "tested": pair.tested}
        line |= {"examples": one.examples, "images": one.images}
        for figure, change in one.changes.items():
            part = {name: getattr(change, name) for name in _PARTS}
            relative = 100 * change.difference / change.before if change.before else np.nan
            part["change"] = change.difference if figure == "asr" else relative
            line |= {f"{figure}_{name}": value for name, value in part.items()}
        lines.append(line)
    names = [f"{figure}_{name}" for figure in FIGURES for name in (*_PARTS, "change")]
    found = pd.DataFrame(lines, columns=["victim", "setting", "tested", "examples", "images", *names])
    adjusted = holm(found[[f"{figure}_p" for figure in FIGURES]].to_numpy(dtype=np.float64).ravel().tolist())
    for index, figure in enumerate(FIGURES):
        found[f"{figure}_adjusted"] = adjusted.reshape(len(found), len(FIGURES))[:, index]
    return found.assign(largest=found[[f"{figure}_change" for figure in FIGURES]].astype("float64").abs().max(axis=1))
