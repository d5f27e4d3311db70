"""How long the work that is left takes, from what finished and running shards have taken."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from eadbench.harness.errors import EadbenchError
from eadbench.harness.plan import grid
from eadbench.harness.plan.cells import Example, Setting
from eadbench.harness.plan.grid import Shard, Victim
from eadbench.harness.results.folder import Results
from eadbench.harness.results.records import ShardRecord
from eadbench.harness.spec import Spec

__all__ = ["Kind", "Pace", "Work", "kind_of", "most_passes", "records_of", "span_text", "work_of"]

Kind = tuple[str, str]
"""The victim's digest and the attack's name. Examples of a kind take about equally long."""
MOST_RECORDS = 100
"""Records of earlier shards that are read."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """The examples of a kind."""

    examples: int
    passes: float
    """The most passes of an example, on average."""


def kind_of(shard: Shard) -> Kind:
    """Return the kind of a shard's examples."""
    return shard.victim.digest, shard.setting.attack


def most_passes(setting: Setting) -> int:
    """Return the most passes of an example of a setting."""
    example = Example(0, 0, None, setting.betas[0], setting.kappas[0])
    passes: int = setting.build([example]).most_passes
    return passes


def work_of(spec: Spec, dataset: str, classes: int, victims: Sequence[Victim]) -> dict[Kind, Work]:
    """Return the work of a whole sweep, by kind."""
    examples: Counter[Kind] = Counter()
    passes: Counter[Kind] = Counter()
    per_cell = grid.examples_per_cell(spec, classes, victims)
    for block in grid.blocks(spec, dataset, victims):
        count = block.setting.points * per_cell[block.population]
        examples[kind_of(block)] += count
        passes[kind_of(block)] += count * most_passes(block.setting)
    return {kind: Work(examples=count, passes=passes[kind] / count) for kind, count in examples.items() if count}


def records_of(results: Results, *, most: int = MOST_RECORDS) -> list[ShardRecord]:
    """Return the records of some finished shards, at most `most`; damaged ones are left out."""
    shards, records = sorted(results.done(with_images=False)), []
    for shard in shards[:: -(-len(shards) // most) or 1]:
        with suppress(EadbenchError, OSError):
            records.append(results.shard_record(shard))
    return records


class _Running(NamedTuple):
    """A running shard: examples done and seconds, at its first report and at its last."""

    kind: Kind
    first: tuple[float, float]
    last: tuple[float, float]


class Pace:
    """Seconds per example of each kind, and the examples that are left.

    Parameters
    ----------
    work
        The work of the sweep, by kind.
    records
        What earlier shards took.
    """

    def __init__(self, work: Mapping[Kind, Work], records: Iterable[ShardRecord] = ()) -> None:
        self._passes = {kind: each.passes for kind, each in work.items()}
        self._left = Counter({kind: each.examples for kind, each in work.items()})
        self._examples: Counter[Kind] = Counter()
        self._seconds: Counter[Kind] = Counter()
        self._running: dict[str, _Running] = {}
        """The running shards, by digest."""
        for record in records:
            self._measured((record.victim, record.attack), record.examples, record.seconds)

    def _measured(self, kind: Kind, examples: float, seconds: float) -> None:
        if kind in self._passes:
            self._examples[kind] += examples  # type: ignore[assignment]
            self._seconds[kind] += seconds  # type: ignore[assignment]

    def skipped(self, kind: Kind, examples: int) -> None:
        """Take off examples that an earlier run has done."""
        self._left[kind] -= examples

    def advanced(self, shard: Shard, share: float, seconds: float) -> None:
        """Note the share of a running shard that is done, and the seconds that it has run."""
        now = (share * shard.size, seconds)
        first = self._running[shard.digest].first if shard.digest in self._running else now
        self._running[shard.digest] = _Running(kind_of(shard), first, now)

    def ended(self, shard: Shard, seconds: float | None) -> None:
        """Take off a shard that has ended; `seconds` is what it took, None if it failed."""
        self._running.pop(shard.digest, None)
        self._left[kind_of(shard)] -= shard.size
        if seconds is not None:
            self._measured(kind_of(shard), shard.size, seconds)

    def seconds_left(self, workers: int) -> float | None:
        """Return the seconds that the examples left take on a number of workers; None before anything is measured."""
        examples, seconds = self._examples.copy(), self._seconds.copy()
        left: Counter[Kind] = self._left.copy()
        for kind, (before, began), (done, now) in self._running.values():
            left[kind] -= done  # type: ignore[assignment]
            if self._examples[kind]:  # what a shard takes is known better from one that has ended
                continue
            if done > before:  # a search may skip its first steps at once
                examples[kind] += done - before  # type: ignore[assignment]
                seconds[kind] += now - began  # type: ignore[assignment]
            elif not self._examples:
                examples[kind] += done  # type: ignore[assignment]
                seconds[kind] += now  # type: ignore[assignment]
        passes = sum(examples[kind] * self._passes[kind] for kind in examples)
        if not passes:
            return None
        per_pass = sum(seconds.values()) / passes
        rates = {
            kind: seconds[kind] / examples[kind] if examples[kind] else per_pass * self._passes[kind] for kind in left
        }
        return sum(max(0, count) * rates[kind] for kind, count in left.items()) / max(1, workers)


def span_text(seconds: float) -> str:
    """Return a span of time: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 99.5 * 60 else f"{seconds / 3600:.1f} h"
