"""From a spec to its cells and shards.

A shard is the work of one task: examples of one victim and one attack, of any β, κ and target. Cells and shards follow
from the spec and its victims alone. The digest of its content identifies each.
"""

import json
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import islice, product, repeat
from math import ceil
from typing import Any, NamedTuple

from eadbench.harness.labels import attack_label, defense_label
from eadbench.harness.plan.cells import FORMAT, Cell, CellKey, Example, Setting, Victim, other_parameters
from eadbench.harness.spec import AttackEntry, RandomTargets, Spec
from eadbench.models import canonical_json, digest_of

__all__ = [
    "Cell",
    "Example",
    "Population",
    "Setting",
    "Shard",
    "Size",
    "Victim",
    "blocks",
    "drawn_images",
    "examples_per_cell",
    "other_parameters",
    "settings",
    "shard_size",
    "shards",
    "size",
    "targets",
    "targets_per_image",
]


SHARD_SIZES = (200, 100, 50, 25, 10)
"""The sizes of shards to choose from. Few, so that a sweep of a few more images mostly has the same shards."""
LEAST_SHARDS = 8
"""Shards of a victim and setting that a chosen size makes, if there are examples enough."""


Population = tuple[str, str]
"""The digest of an attacked victim and the choice of targets, as JSON: the cells of both have the same examples."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """The examples that one task attacks."""

    dataset: str
    """Identity of the data set."""
    split: str
    victim: Victim
    targets: str | Mapping[str, Any]
    """How the target classes of an image are chosen; part of the identity of the cells."""
    setting: Setting
    examples: Sequence[Example]
    save_images: bool = False

    reports_progress = False

    @cached_property
    def digest(self) -> str:
        """16 hex digits that name the shard's files in the results."""
        setting = [self.setting.attack, self.setting.parameters, self.setting.decision_rules, self.setting.precision]
        return digest_of([FORMAT, self.dataset, self.split, self.victim.digest, self.targets, setting, self.examples])

    @property
    def name(self) -> str:
        """Name of the task for messages."""
        return f"shard {self.digest}"

    @property
    def title(self) -> str:
        """Name of the task on Ray's dashboard: ``EAD on cw_mnist, distillation T = 100``."""
        attack = attack_label(self.setting.attack, self.setting.parameters.get("norm"))
        return f"{attack} on {self.victim.arch}, {defense_label(self.victim.defense, self.victim.defense_parameters)}"

    @property
    def kind(self) -> str:
        """The victim and the setting."""
        return f"{self.setting.digest} on {self.victim.digest}"

    @property
    def population(self) -> Population:
        """The victim and the choice of targets."""
        return self.victim.digest, canonical_json(self.targets)

    @property
    def block(self) -> tuple[Population, Setting]:
        """What shards share that differ in their examples alone."""
        return self.population, self.setting

    @property
    def victim_digest(self) -> str:
        """Digest of the attacked victim."""
        return self.victim.digest

    @property
    def size(self) -> int:
        """Number of examples."""
        return len(self.examples)

    @property
    def cell_digests(self) -> Mapping[CellKey, str]:
        """Digests of the cells of this shard's setting, by β, κ and decision rule."""
        return _cell_digests(self.dataset, self.split, *self.population, self.setting)

    def cells(self) -> list[Cell]:
        """Return every cell of this shard's setting."""
        return list(self.setting.cells(self.dataset, self.split, self.victim.digest, self.targets))


@lru_cache(maxsize=2)
def _cell_digests(dataset: str, split: str, victim: str, targets: str, setting: Setting) -> Mapping[CellKey, str]:
    """Compute the digests of a setting's cells once for all its shards, which run in sequence.

    The choice of targets is given as JSON.
    """
    cells = setting.cells(dataset, split, victim, json.loads(targets))
    return {(cell.beta, cell.kappa, cell.decision_rule): cell.digest for cell in cells}


def settings(spec: Spec) -> list[Setting]:
    """Return the settings of a spec, for each choice of targets.

    An axis whose value cannot vary within a batch gives one setting per value.
    """
    return [setting for each in spec.by_targets() for entry in each.attacks for setting in _settings(entry, each)]


def _settings(entry: AttackEntry, spec: Spec) -> Iterator[Setting]:
    """Yield the settings of one attack's entry, for one choice of targets."""
    fixed = {name: value for name, value in entry.parameters.items() if name not in ("beta", "kappa")}
    grid = {
        name: entry.axes.get(name, [entry.parameters.get(name, default)])
        for name, default in (("beta", None), ("kappa", 0.0))
    }
    split = {name: values for name, values in grid.items() if name in entry.axes and name not in entry.varying}
    split |= {name: values for name, values in entry.axes.items() if name not in grid}
    for combination in product(*split.values()):
        values = dict(zip(split, combination, strict=True))
        axes = {name: [values.pop(name)] if name in values else grid[name] for name in grid}
        yield Setting(
            attack=entry.name,
            parameters={**fixed, "targeted": spec.targeted, **values},
            betas=axes["beta"],
            kappas=axes["kappa"],
            decision_rules=list(entry.decision_rules) or [None],
            precision=spec.precision,
        )


def drawn_images(
    spec: Spec,
    size: int,
    wrong: Sequence[int],
    *,
    candidates: Collection[int] | None = None,
    chosen: Sequence[int] | None = None,
) -> list[int]:
    """Draw the images to attack from a split of `size` images, without the misclassified images in `wrong`.

    The order depends on the spec's seed alone. So victims share the images that they classify correctly, and a greater
    count only adds images.

    Parameters
    ----------
    candidates
        The images that may be drawn, if not all.
    chosen
        The images in the order of the spec, if it chooses them.
    """
    order = list(range(size) if chosen is None else chosen)
    if chosen is None:
        random.Random(f"images/{spec.seed}/{spec.images.split}").shuffle(order)
    excluded = set(wrong)
    allowed = range(size) if candidates is None else candidates
    return list(islice((image for image in order if image in allowed and image not in excluded), spec.images.limit))


def targets(spec: Spec, dataset: str, image: int, label: int, classes: Sequence[int]) -> list[int | None]:
    """Return the targets of an image: its incorrect ones of ascending target classes, or [None] if untargeted.

    The spec has one choice of targets, which is no file.
    """
    [choice] = spec.targets
    if choice == "untargeted":
        return [None]
    incorrect = [target for target in classes if target != label]
    if isinstance(choice, RandomTargets):
        generator = random.Random(f"targets/{spec.seed}/{dataset}/{spec.images.split}/{image}")
        incorrect = sorted(generator.sample(incorrect, min(choice.random, len(incorrect))))
    return [*incorrect]


def blocks(spec: Spec, dataset: str, victims: Sequence[Victim]) -> list[Shard]:
    """Return one empty shard per attacked victim, choice of targets and setting: the source of shards and cells."""
    return [block for _, block in _blocks(spec, dataset, victims)]


def _blocks(spec: Spec, dataset: str, victims: Sequence[Victim]) -> Iterator[tuple[Spec, Shard]]:
    """Yield the blocks of a spec, each with the spec of its choice of targets alone."""
    settings_of = [(each, settings(each)) for each in spec.by_targets()]
    for victim in victims:
        for each, its_settings in settings_of if victim.attacked else ():
            for setting in its_settings:
                yield (
                    each,
                    Shard(
                        dataset=dataset,
                        split=spec.images.split,
                        victim=victim,
                        targets=each.target_choice,
                        setting=setting,
                        examples=(),
                        save_images=spec.save_images == "successes",
                    ),
                )


class Size(NamedTuple):
    """The size of a sweep."""

    cells: int
    shards: int
    examples: int


def size(spec: Spec, classes: int, victims: Sequence[Victim]) -> Size:
    """Compute the size of a sweep of a number of target classes, without its shards."""
    counts = examples_per_cell(spec, classes, victims)
    blocks_of = blocks(spec, "", victims)
    examples = [block.setting.points * counts[block.population] for block in blocks_of]
    return Size(
        cells=sum(block.setting.points * len(block.setting.decision_rules) for block in blocks_of),
        shards=sum(ceil(count / shard_size(spec, count)) for count in examples),
        examples=sum(examples),
    )


def shard_size(spec: Spec, examples: int) -> int:
    """Return the number of examples in a shard, where a setting has so many examples on a victim.

    Unless the spec gives a size, the largest of `SHARD_SIZES` that makes `LEAST_SHARDS`.
    """
    if spec.shard_size != "auto":
        return spec.shard_size
    return next((size for size in SHARD_SIZES if examples >= LEAST_SHARDS * size), SHARD_SIZES[-1])


def examples_per_cell(spec: Spec, classes: int, victims: Sequence[Victim]) -> dict[Population, int]:
    """Return the number of examples of each cell: the victim's images, each with its target classes."""
    return {
        (victim.digest, canonical_json(each.target_choice)): _examples(each, classes, victim)
        for victim in victims
        if victim.attacked
        for each in spec.by_targets()
    }


def _examples(spec: Spec, classes: int, victim: Victim) -> int:
    if spec.target_file:
        return sum(map(len, victim.targets))
    images = len(victim.images) if victim.targets else spec.images.limit or len(victim.images)
    return images * targets_per_image(spec, classes)


def targets_per_image(spec: Spec, classes: int) -> int:
    """Return the number of targets of each image if no file gives them: one fewer than the target classes, or less."""
    [choice] = spec.targets
    if choice == "untargeted":
        return 1
    return min(choice.random, classes - 1) if isinstance(choice, RandomTargets) else classes - 1


def shards(spec: Spec, dataset: str, classes: Sequence[int], victims: Sequence[Victim]) -> Iterator[Shard]:
    """Yield every shard of a sweep, lazily: image after image, each at every β, κ and target."""
    counts = examples_per_cell(spec, len(classes), victims)
    for each, block in _blocks(spec, dataset, victims):
        victim = block.victim
        targets_given = victim.targets if each.target_file else repeat((), len(victim.images))
        examples = (
            Example(image, label, target, beta, kappa)
            for image, label, given in zip(victim.images, victim.labels, targets_given, strict=True)
            for beta, kappa in product(block.setting.betas, block.setting.kappas)
            for target in given or targets(each, dataset, image, label, classes)
        )
        # Shards are small to send.
        template = replace(block, victim=replace(victim, images=(), labels=(), targets=(), evaluated_on=()))
        size = shard_size(spec, block.setting.points * counts[block.population])
        while part := tuple(islice(examples, size)):
            yield replace(template, examples=part)
