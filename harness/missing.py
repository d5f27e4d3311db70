"""The shards of a sweep that are not done, found as they are gone through: no list of them is held."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

from harness.grid import Example, Shard
from harness.parquet.rows import Key


class Count(NamedTuple):
    """How many there are."""

    shards: int
    examples: int


class Missing:
    """The shards that are not done, without the examples that the shards of an earlier spec have done.

    What is done is looked up once, when this is made: it can be gone through again, and gives the same.

    Parameters
    ----------
    planned
        Gives every shard of the sweep, afresh each time.
    done
        Digests of the shards that are done, of this sweep or of an earlier spec.
    held
        Given the digests of an earlier spec's shards: the examples of which they have rows.
    """

    def __init__(
        self,
        planned: Callable[[], Iterable[Shard]],
        done: Collection[str],
        held: Callable[[Collection[str]], Collection[Key]],
    ) -> None:
        self._planned, self._done = planned, done
        earlier = set(done)
        if earlier:
            earlier.difference_update(shard.digest for shard in planned())
        self._held = held(earlier) if earlier else frozenset()

    def __iter__(self) -> Iterator[Shard]:
        for shard in self._planned():
            if shard.digest not in self._done and (left := self._left(shard)):
                yield replace(shard, examples=left)

    @cached_property
    def count(self) -> Count:
        """How many shards are missing, and how many examples they have."""
        shards = examples = 0
        for shard in self:
            shards += 1
            examples += len(shard.examples)
        return Count(shards, examples)

    def _left(self, shard: Shard) -> Sequence[Example]:
        """The examples of which the rows of some decision rule are not held."""
        if not self._held:
            return shard.examples
        cells, rules = shard.cell_digests, shard.setting.decision_rules
        return tuple(
            e
            for e in shard.examples
            if not all((cells[e.beta, e.kappa, rule], e.image, e.target) in self._held for rule in rules)
        )
