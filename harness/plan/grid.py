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
        targets = canonical_json(self.targets)
        return _cell_digests(self.dataset, self.split, self.victim.digest, targets, self.setting)

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
    """Return the settings of a spec. An axis whose value cannot vary within a batch gives one setting per value."""
    return [setting for entry in spec.attacks for setting in _settings(entry, spec)]


def _settings(entry: AttackEntry, spec: Spec) -> Iterator[Setting]:
    """Yield the settings of one attack's entry."""
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
    """Return the targets of an image: its incorrect ones of ascending target classes, or [None] if untargeted."""
    if not spec.targeted:
        return [None]
    incorrect = [target for target in classes if target != label]
    if isinstance(spec.targets, RandomTargets):
        generator = random.Random(f"targets/{spec.seed}/{dataset}/{spec.images.split}/{image}")
        incorrect = sorted(generator.sample(incorrect, min(spec.targets.random, len(incorrect))))
    return [*incorrect]


def blocks(spec: Spec, dataset: str, victims: Sequence[Victim]) -> list[Shard]:
    """Return one empty shard per attacked victim and setting, the source of the sweep's shards and cells."""
    return [
        Shard(
            dataset=dataset,
            split=spec.images.split,
            victim=victim,
            targets=spec.target_choice,
            setting=setting,
            examples=(),
            save_images=spec.save_images == "successes",
        )
        for victim, setting in product(victims, settings(spec))
        if victim.attacked
    ]


class Size(NamedTuple):
    """The size of a sweep."""

    cells: int
    shards: int
    examples: int


def size(spec: Spec, classes: int, victims: Sequence[Victim]) -> Size:
    """Compute the size of a sweep of a number of target classes, without its shards."""
    counts = [examples_per_cell(spec, classes, victim) for victim in victims if victim.attacked]
    grids = [(len(setting.betas) * len(setting.kappas), len(setting.decision_rules)) for setting in settings(spec)]
    return Size(
        cells=len(counts) * sum(points * rules for points, rules in grids),
        shards=sum(ceil(points * count / shard_size(spec, points * count)) for count in counts for points, _ in grids),
        examples=sum(points for points, _ in grids) * sum(counts),
    )


def shard_size(spec: Spec, examples: int) -> int:
    """Return the number of examples in a shard, where a setting has so many examples on a victim.

    Unless the spec gives a size, the largest of `SHARD_SIZES` that makes `LEAST_SHARDS`.
    """
    if spec.shard_size != "auto":
        return spec.shard_size
    return next((size for size in SHARD_SIZES if examples >= LEAST_SHARDS * size), SHARD_SIZES[-1])


def examples_per_cell(spec: Spec, classes: int, victim: Victim) -> int:
    """Return the number of examples of each cell of a victim: its images, each with its target classes."""
    if victim.targets:
        return sum(map(len, victim.targets))
    return (spec.images.limit or len(victim.images)) * targets_per_image(spec, classes)


def targets_per_image(spec: Spec, classes: int) -> int:
    """Return the number of targets of each image if no file gives them: one fewer than the target classes, or less."""
    if not spec.targeted:
        return 1
    return min(spec.targets.random, classes - 1) if isinstance(spec.targets, RandomTargets) else classes - 1


def shards(spec: Spec, dataset: str, classes: Sequence[int], victims: Sequence[Victim]) -> Iterator[Shard]:
    """Yield every shard of a sweep, lazily: image after image, each at every β, κ and target."""
    for block in blocks(spec, dataset, victims):
        victim = block.victim
        targets_given = victim.targets or repeat((), len(victim.images))
        examples = (
            Example(image, label, target, beta, kappa)
            for image, label, given in zip(victim.images, victim.labels, targets_given, strict=True)
            for beta, kappa in product(block.setting.betas, block.setting.kappas)
            for target in given or targets(spec, dataset, image, label, classes)
        )
        # Shards are small to send.
        template = replace(block, victim=replace(victim, images=(), labels=(), targets=(), evaluated_on=()))
        points = len(block.setting.betas) * len(block.setting.kappas)
        size = shard_size(spec, points * examples_per_cell(spec, len(classes), victim))
        while part := tuple(islice(examples, size)):
            yield replace(template, examples=part)
