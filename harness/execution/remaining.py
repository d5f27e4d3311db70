"""The shards of a sweep that are not done, found as they are gone through: no list of them is held."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from eadbench.harness.parquet.rows import Key
from eadbench.harness.plan.grid import Example, Setting, Shard


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
        Given the digests of an earlier spec's shards and of cells: the examples of the cells of which they have rows.
    """

    def __init__(
        self,
        planned: Callable[[], Iterable[Shard]],
        done: Collection[str],
        held: Callable[[Collection[str], Collection[str]], Collection[Key]],
    ) -> None:
        self._planned, self._done, self._held = planned, done, held
        self._earlier = set(done)
        if self._earlier:
            self._earlier.difference_update(shard.digest for shard in planned())

    def __iter__(self) -> Iterator[Shard]:
        for shard, left in self.sifted():
            if left:
                yield replace(shard, examples=left)

    def sifted(self) -> Iterator[tuple[Shard, Sequence[Example]]]:
        """Every shard of the sweep, and those of its examples that are not done."""
        block: tuple[str, Setting] | None = None
        held: Collection[Key] = ()
        for shard in self._planned():
            if shard.digest in self._done:
                yield shard, ()
                continue
            if self._earlier and block != (shard.victim.digest, shard.setting):  # shards come block by block
                block = shard.victim.digest, shard.setting
                held = self._held(self._earlier, shard.cell_digests.values())
            yield shard, _left(shard, held)


def _left(shard: Shard, held: Collection[Key]) -> Sequence[Example]:
    """The examples of which the rows of some decision rule are not held."""
    if not held:
        return shard.examples
    cells, rules = shard.cell_digests, shard.setting.decision_rules
    return tuple(
        e
        for e in shard.examples
        if not all((cells[e.beta, e.kappa, rule], e.image, e.target) in held for rule in rules)
    )
