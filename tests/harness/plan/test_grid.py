"""Cells and shards follow from the spec and its victims alone."""

import pickle
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from eadbench.harness.execution.remaining import Remaining
from eadbench.harness.plan import grid
from eadbench.harness.plan.grid import Victim
from eadbench.harness.results.folder import Results
from tests.sweeps import small


def victim(images: list[int], digest: str = "a" * 16) -> Victim:
    return Victim(
        digest=digest,
        name=None,
        arch="digits",
        defense="none",
        defense_parameters={},
        trained_on="digits",
        accuracy=1.0,
        images=images,
        labels=[image % 10 for image in images],
    )


def test_every_example_of_every_setting_is_in_one_shard() -> None:
    spec = small()
    shards = list(grid.shards(spec, "digits", range(10), [victim([3, 14, 15])]))
    examples = Counter(
        (shard.setting.attack, shard.setting.parameters.get("norm"), *example)
        for shard in shards
        for example in shard.examples
    )
    assert set(examples.values()) == {1}
    assert len(examples) == 3 * 9 * (1 + 2 + 1 + 2)
    assert max(len(shard.examples) for shard in shards) == spec.shard_size
    assert len({shard.digest for shard in shards}) == len(shards)


@pytest.mark.parametrize(
    ("images", "betas", "size", "shards"),
    [
        *[(4, 1, 10, 1), (40, 1, 10, 4), (79, 1, 10, 8), (200, 1, 25, 8)],
        *[(40, 9, 25, 15), (400, 2, 100, 8), (1600, 1, 200, 8), (9000, 9, 200, 405)],
    ],
)
def test_shards_are_small_where_the_work_is(images: int, betas: int, size: int, shards: int) -> None:
    attack = {"name": "ead", "beta": [10.0**-i for i in range(betas)]}
    plain = small(attacks=[attack], images={"count": images}, targets="untargeted", shard_size="auto")
    many = small(
        attacks=[attack],
        images={"count": images},
        targets="untargeted",
        shard_size="auto",
        resources={"workers": 64},
        batch_size=8,
    )
    drawn = victim(list(range(images)))
    cut = list(grid.shards(plain, "digits", range(10), [drawn]))
    assert (len(cut), len(cut[0].examples)) == (shards, min(size, images))
    assert grid.size(plain, 10, [drawn]).shards == shards
    first = next(grid.shards(many, "digits", range(10), [drawn]))
    assert first.digest == cut[0].digest  # whatever the workers


def test_cells_are_those_of_the_examples() -> None:
    spec = small()
    victims = [victim([1]), victim([1], "b" * 16)]
    cells = {cell.digest for block in grid.blocks(spec, "digits", victims) for cell in block.cells()}
    used = {
        shard.cell_digests[example.beta, example.kappa, rule]
        for shard in grid.shards(spec, "digits", range(10), victims)
        for example in shard.examples
        for rule in shard.setting.decision_rules
    }
    assert used == cells
    assert len(cells) == 2 * (1 + 2 + 1 + 2 * 2)


def test_the_choice_of_targets_is_part_of_the_identity() -> None:
    """Worst cases over 1 and over 3 targets are different figures; so are those of differently drawn targets."""
    choices = ("all", {"random": 1}, {"random": 3}, {"random": 9}, "untargeted")
    specs = [small(targets=targets, seed=seed) for targets in choices for seed in (0, 1)]
    blocks = [grid.blocks(spec, "digits", [victim([3])])[0] for spec in specs]
    cells = [block.cells()[0].digest for block in blocks]
    # The seed draws random targets; it is no part of the others' identity.
    assert len(set(cells)) == 2 + 2 * 3
    for at, spec in enumerate(specs):
        shard = next(grid.shards(spec, "digits", range(10), [victim([3])]))
        assert cells[at] in shard.cell_digests.values()
    drawn = [next(grid.shards(spec, "digits", range(10), [victim([3])])).digest for spec in (specs[0], specs[6])]
    assert drawn[0] != drawn[1]  # nine of nine at random are all, but other cells


def test_a_digest_does_not_change_from_version_to_version() -> None:
    """Results folders live longer than a version: a changed digest would orphan their rows."""
    first = next(grid.shards(small(), "digits", range(10), [victim([3, 14, 15])]))
    assert first.digest == "0bbd97319afd0728"
    assert first.cells()[0].digest == "e56421c38c8cb185"


def test_a_large_sweep_is_planned_in_little_memory(tmp_path: Path) -> None:
    """Its examples are never all there at once, and a shard that travels carries its own examples alone."""
    spec = small(attacks=[{"name": "ead", "beta": [1e-4, 1e-3, 1e-2]}], shard_size=200)
    many = victim(list(range(4_000)))
    remaining = Remaining(Results(tmp_path), lambda: grid.shards(spec, "digits", range(10), [many]), with_images=False)
    tracemalloc.start()
    shards = examples = 0
    for shard in remaining:
        shards, examples = shards + 1, examples + len(shard.examples)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (shards, examples) == (540, 108_000)
    assert peak < 1e6
    assert len(pickle.dumps(shard)) < 20_000


def test_more_images_keep_the_ones_there_were() -> None:
    few = grid.drawn_images(small(), 400, wrong=[5, 7])
    many = grid.drawn_images(small(images={"count": 390}), 400, wrong=[5, 7])
    assert many[:3] == few
    assert len(set(many)) == 390 and not {5, 7} & set(many)
    assert grid.drawn_images(small(seed=1), 400, wrong=[]) != grid.drawn_images(small(), 400, wrong=[])


def test_victims_share_what_each_gets_right() -> None:
    one, other = (grid.drawn_images(small(images={"count": 50}), 100, wrong=wrong) for wrong in ([1], [2]))
    assert len(set(one) & set(other)) >= 49


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("all", [0, 1, 3, 4]), ("untargeted", [None]), ({"random": 4}, [0, 1, 3, 4])],
    ids=["all", "untargeted", "random all"],
)
def test_targets(rule: object, expected: list[int | None]) -> None:
    assert grid.targets(small(targets=rule), "digits", image=8, label=2, classes=range(5)) == expected


def test_random_targets_are_drawn_image_by_image() -> None:
    spec = small(targets={"random": 3})
    drawn = [grid.targets(spec, "digits", image, 0, range(10)) for image in range(200)]
    assert drawn == [grid.targets(spec, "digits", image, 0, range(10)) for image in range(200)]
    assert all(len(set(targets)) == 3 and 0 not in targets for targets in drawn)
    counts = Counter(target for targets in drawn for target in targets)
    assert min(counts.values()) > 40  # 66.7 expected of each class


def test_a_file_s_targets_are_each_image_s_own() -> None:
    spec = small(images={}, targets={"file": "t.csv", "rows": ["3,1", "14,0", "14,9"]})
    one = replace(victim([3, 14]), targets=[[1], [0, 9]])
    shards = list(grid.shards(spec, "digits", range(10), [one]))
    first = {(example.image, example.target) for example in shards[0].examples}
    assert first == {(3, 1), (14, 0), (14, 9)}
    assert list(grid.examples_per_cell(spec, 10, [one]).values()) == [3]
    size = grid.size(spec, 10, [one, replace(one, digest="b" * 16, images=[3], labels=[3], targets=[[1]])])
    assert (size.cells, size.examples, size.shards) == (2 * 8, (3 + 1) * 6, len(shards) + 5)
    assert grid.drawn_images(spec, 400, wrong=[14], candidates={3, 14}) == [3]


def test_an_attack_is_built_with_each_example_s_own_axes() -> None:
    shard = next(
        shard for shard in grid.shards(small(), "digits", range(10), [victim([3])]) if shard.setting.attack == "ead"
    )
    attack = shard.setting.build(shard.examples)
    assert attack.beta.tolist() == pytest.approx([example.beta for example in shard.examples])
    assert torch.equal(attack.kappa, torch.zeros(len(shard.examples)))
    assert attack.targeted and attack.max_iterations == 30
