"""What a sweep has left to run: its shards lazily, so that no list of them is held, and its transfers."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from eadbench.harness.parquet.rows import Key, keys_of, parts_by_group, read_rows
from eadbench.harness.plan.cells import detector_digest
from eadbench.harness.plan.grid import Example, Population, Setting, Shard
from eadbench.harness.plan.tasks import Transfer
from eadbench.harness.results.folder import Results
from eadbench.harness.results.row_weights import check_weights

__all__ = ["Remaining", "remaining_transfers"]

Block = tuple[Population, Setting]
"""The victim, the choice of targets and the setting that shards share."""


class Remaining:
    """The shards left to run, without the examples that shards of an earlier spec already have rows of.

    The results are asked once, when this is made. Every iteration plans the shards anew and gives the same.

    Parameters
    ----------
    plan
        Plans every shard of the sweep.
    with_images
        Whether a shard is only done if it has stored its images. If its victim has detectors, it is only done if they
        have judged its examples.

    Raises
    ------
    DamagedResults
        A part has lost rows, or its rows are of other weights than those that the folder holds now.
    """

    def __init__(self, results: Results, plan: Callable[[], Iterable[Shard]], *, with_images: bool) -> None:
        self._results, self._plan = results, plan
        check_weights(results)
        self._done = results.done(with_images=with_images)
        self._judgements = results.judged()
        self._earlier: Mapping[Block, Sequence[Path]] = self._earlier_parts() if self._done else {}
        """Parts of shards that are done and not planned, those of an earlier spec, by the blocks of the plan."""

    def __iter__(self) -> Iterator[Shard]:
        for shard, examples in self.examples_left():
            if examples:
                yield replace(shard, examples=examples)

    def examples_left(self) -> Iterator[tuple[Shard, Sequence[Example]]]:
        """Yield every shard of the sweep with those of its examples that are left to run."""
        block: Block | None = None
        keys: Collection[Key] = ()
        for shard in self._plan():
            if shard.digest in self._done and self._is_judged(shard.digest, shard):
                yield shard, ()
                continue
            if self._earlier and block != shard.block:  # shards are planned block by block
                block = shard.block
                keys = self._earlier_keys(self._earlier.get(block, ()), shard.cell_digests.values())
            yield shard, _without(shard, keys)

    def _earlier_parts(self) -> dict[Block, list[Path]]:
        """Look once through the parts of an earlier spec, and return those that have rows of each planned block."""
        earlier, blocks = set(self._done), dict[Block, Shard]()
        for shard in self._plan():
            earlier.discard(shard.digest)
            if not earlier:
                return {}
            blocks.setdefault(shard.block, shard)
        groups = {cell: index for index, shard in enumerate(blocks.values()) for cell in shard.cell_digests.values()}
        parts = parts_by_group([self._results.part(digest) for digest in sorted(earlier)], groups)
        return {
            block: [part for part in parts.get(index, []) if self._is_judged(part.stem, shard)]
            for index, (block, shard) in enumerate(blocks.items())
        }

    def _is_judged(self, digest: str, shard: Shard) -> bool:
        """Return whether the detectors of a shard's victim have judged the shard of a digest."""
        wanted = [(digest, detector_digest(entry)) for entry in shard.victim.detectors]
        return self._judgements.issuperset(wanted)

    def _earlier_keys(self, parts: Sequence[Path], cells: Collection[str]) -> set[Key]:
        """Return the keys of the rows that parts of an earlier spec have of some cells."""
        return set(keys_of(read_rows(parts, columns=["cell", "image", "target"], cells=cells)))


def _without(shard: Shard, keys: Collection[Key]) -> Sequence[Example]:
    """Return the examples of a shard that lack rows by some decision rule."""
    if not keys:
        return shard.examples
    cells, rules = shard.cell_digests, shard.setting.decision_rules
    return tuple(
        e
        for e in shard.examples
        if not all((cells[e.beta, e.kappa, rule], e.image, e.target) in keys for rule in rules)
    )


def remaining_transfers(results: Results, others: Mapping[str, Sequence[str]], split: str) -> list[Transfer]:
    """Return the transfers left to run.

    Parameters
    ----------
    others
        The victims on which the examples of each victim are tested, by digest.
    split
        The split whose shards are tested.
    """
    if not any(others.values()):
        return []
    transfers: list[Transfer] = []
    for shard in sorted(results.done(with_images=True)):
        record = results.shard_record(shard)
        victims = others.get(record.victim, ()) if record.split == split else ()
        transfers += [
            Transfer(shard=shard, victim_digest=victim)
            for victim in victims
            if not results.part(shard, victim).exists()
        ]
    return transfers
