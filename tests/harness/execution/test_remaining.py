"""What a sweep has left to run, planned without a list of its shards."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from eadbench.harness.execution import remaining as remaining_module
from eadbench.harness.execution.remaining import Remaining, remaining_transfers
from eadbench.harness.parquet.rows import read_rows
from eadbench.harness.plan import grid
from eadbench.harness.plan.grid import Shard, Victim
from eadbench.harness.results.folder import Results
from eadbench.harness.results.records import ShardRecord
from tests.sweeps import small

ATTACKS = [{"name": "ead", "beta": [1e-3, 1e-2], "kappa": [0, 5]}, {"name": "fgm", "norm": ["l1", "linf"]}]


def victim(digest: str, count: int) -> Victim:
    return Victim(
        digest=digest,
        name=None,
        arch="digits",
        defense="none",
        defense_parameters={},
        trained_on="digits",
        accuracy=1.0,
        images=[1, 2, 3][:count],
        labels=[4, 5, 6][:count],
    )


def shards(count: int = 3) -> Iterator[Shard]:
    """Plan the shards of a sweep of two victims."""
    spec = small(attacks=ATTACKS, images={"count": count})
    return grid.shards(spec, "digits", range(10), [victim("a" * 16, count), victim("b" * 16, count)])


def test_rows_of_an_earlier_shard_size_are_kept(tmp_path: Path) -> None:
    results = Results(tmp_path)
    victims = [victim("a" * 16, 3)]

    def planned(size: int | str) -> list[Shard]:
        return [*grid.shards(small(attacks=ATTACKS, shard_size=size), "digits", range(10), victims)]

    for shard in planned(200):
        store(results, shard)
    assert len(planned("auto")) > len(planned(200))
    assert not [*Remaining(results, lambda: planned("auto"), with_images=False)]


def store(results: Results, shard: Shard) -> None:
    """Store a shard's rows by every decision rule, as far as the planner reads them."""
    rows = [
        {"cell": shard.cell_digests[e.beta, e.kappa, rule], "image": e.image, "target": e.target}
        for e in shard.examples
        for rule in shard.setting.decision_rules
    ]
    record = {"shard": shard.digest, "split": shard.split, "victim": shard.victim.digest, "attack": "ead"}
    rest: dict[str, Any] = {
        name: {} if name in ("successes", "unconfirmed") else 0 if kind in (int, float) else ""
        for name, kind in ShardRecord.__annotations__.items()
        if kind is not bool
    }
    results.commit(shard, rows, ShardRecord(**{**rest, **record}))


def test_shards_that_are_done_are_not_left(tmp_path: Path) -> None:
    results, planned = Results(tmp_path), [*shards()]
    for shard in planned[::2]:
        store(results, shard)
    remaining = Remaining(results, shards, with_images=False)
    assert [shard.digest for shard in remaining] == [shard.digest for shard in planned[1::2]]
    assert [*remaining] == [*remaining]
    assert [*Remaining(results, shards, with_images=True)] == planned, "none of them has stored its images"


def test_examples_of_an_earlier_spec_are_not_left(tmp_path: Path) -> None:
    results = Results(tmp_path)
    earlier = [*shards(2)]
    for shard in earlier:
        store(results, shard)
    left = [
        (shard.victim.digest, shard.setting.digest, e)
        for shard in Remaining(results, shards, with_images=False)
        for e in shard.examples
    ]
    done = {(shard.victim.digest, shard.setting.digest, e) for shard in earlier for e in shard.examples}
    every = [(shard.victim.digest, shard.setting.digest, e) for shard in shards() for e in shard.examples]
    assert done and left == [example for example in every if example not in done]


def test_parts_of_an_earlier_spec_are_read_for_their_own_block_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, parts = Results(tmp_path), list[Path]()
    for shard in shards(2):
        store(results, shard)

    def counted(paths: Sequence[Path], **options: Any) -> pd.DataFrame:
        parts.extend(paths)
        return read_rows(paths, **options)

    monkeypatch.setattr(remaining_module, "read_rows", counted)
    assert len([*Remaining(results, shards, with_images=False)])
    assert parts and len(parts) == len(set(parts)) <= len([*shards(2)])


def test_shards_are_planned_as_they_are_drawn(tmp_path: Path) -> None:
    drawn: list[str] = []

    def plan() -> Iterator[Shard]:
        for shard in shards():
            drawn.append(shard.digest)
            yield shard

    remaining = Remaining(Results(tmp_path), plan, with_images=False)
    assert not drawn
    assert len([*islice(remaining, 2)]) == len(drawn) == 2


def test_a_sweep_that_goes_on_is_planned_up_to_its_last_finished_shard(tmp_path: Path) -> None:
    planned, drawn = [*shards()], list[str]()
    for shard in planned[:3]:
        store(Results(tmp_path), shard)

    def plan() -> Iterator[Shard]:
        for shard in shards():
            drawn.append(shard.digest)
            yield shard

    Remaining(Results(tmp_path), plan, with_images=False)
    assert drawn == [shard.digest for shard in planned[:3]]


def test_a_settings_cells_are_named_once_for_all_its_shards() -> None:
    grid._cell_digests.cache_clear()
    named = [shard.cell_digests for shard in shards()]
    assert len(named) > 6 and grid._cell_digests.cache_info().misses == 2 * 3
    assert named[0] == {(c.beta, c.kappa, c.decision_rule): c.digest for c in next(shards()).cells()}


class TestTransfers:
    @pytest.fixture
    def results(self, tmp_path: Path) -> Results:
        """Return results of which every shard has rows, and every second one images."""
        results = Results(tmp_path)
        results.images.mkdir()
        for i, shard in enumerate(shards()):
            store(results, shard)
            if i % 2:
                results.image_part(shard.digest).touch()
        return results

    def test_are_of_shards_with_images(self, results: Results) -> None:
        transfers = remaining_transfers(results, {"a" * 16: ["b" * 16, "c" * 16]}, "test")
        sources = sorted(shard.digest for i, shard in enumerate(shards()) if i % 2 and shard.victim.digest == "a" * 16)
        assert [(t.shard, t.victim_digest) for t in transfers] == [
            (shard, other) for shard in sources for other in ("b" * 16, "c" * 16)
        ]

    def test_are_not_left_once_they_have_rows(self, results: Results) -> None:
        others = {"a" * 16: ["b" * 16]}
        first, *rest = remaining_transfers(results, others, "test")
        results.part(first.shard, first.victim_digest).touch()
        assert rest and remaining_transfers(results, others, "test") == rest

    def test_are_of_one_split(self, results: Results) -> None:
        assert remaining_transfers(results, {"a" * 16: ["b" * 16]}, "train") == []

    def test_nothing_is_read_without_other_victims(self, results: Results) -> None:
        for path in results.shards.iterdir():
            path.write_text("damaged")
        assert remaining_transfers(results, {"a" * 16: []}, "test") == []
