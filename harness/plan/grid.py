"""From a spec to its cells and shards.

A cell is one line of a table: victim × attack × β × κ × decision rule. A shard is what one task of a worker takes:
examples of one victim and one attack, of any β, κ and target. Both follow from the spec and its victims alone, and
are named by digests of what they contain.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import islice, product
from math import ceil
from typing import Any, NamedTuple

import torch

from eadbench.attacks import ATTACKS
from eadbench.harness.spec.parameters import AXES, look_up
from eadbench.harness.spec.schema import RandomTargets, Spec
from eadbench.models import digest_of


class Example(NamedTuple):
    """One image and target class, attacked at one β and κ; None where that has no meaning."""

    image: int
    label: int
    target: int | None
    beta: float | None
    kappa: float


@dataclass(frozen=True, kw_only=True)
class Victim:
    """What rows and cells say of a victim, and the images of it that a sweep attacks."""

    digest: str
    arch: str
    defense: str
    temperature: float | None
    trained_on: str
    accuracy: float | None
    """On the split that is attacked, in [0, 1]; None before it is known."""
    images: Sequence[int] = field(repr=False)
    labels: Sequence[int] = field(repr=False)
    attacked: bool = True
    """False for one that examples are only tested on."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One setting of the grid; its digest does not depend on which images are attacked."""

    dataset: str
    """The data set's identity."""
    split: str
    victim: str
    attack: str
    parameters: Mapping[str, Any]
    beta: float | None
    kappa: float
    decision_rule: str | None

    @cached_property
    def digest(self) -> str:
        """16 hex digits."""
        return digest_of(asdict(self))


@dataclass(frozen=True, kw_only=True)
class Setting:
    """An attack with its fixed hyperparameters, and the β and κ that the grid gives it.

    An attack without β has `betas` (None,). One without κ is run at κ = 0, which is what its successes reach.
    """

    attack: str
    parameters: Mapping[str, Any]
    betas: Sequence[float | None]
    kappas: Sequence[float]
    decision_rules: Sequence[str | None]

    def build(self, examples: Sequence[Example], device: torch.device | str = "cpu") -> Any:
        """The attack, ready for `examples`: its β and κ are tensors of one per example."""
        attack = look_up(self.attack, ATTACKS, "attack")
        axes = {
            name: torch.tensor([getattr(example, name) for example in examples], device=device)
            for name in ("beta", "kappa")
            if name in attack.__dataclass_fields__
        }
        return attack(**self.parameters, **axes)


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Examples that one task attacks."""

    dataset: str
    """The data set's identity."""
    split: str
    victim: Victim
    setting: Setting
    examples: Sequence[Example]
    save_images: bool = False

    @cached_property
    def digest(self) -> str:
        """16 hex digits; the shard's part of the results is named by it."""
        setting = [self.setting.attack, self.setting.parameters, self.setting.decision_rules]
        return digest_of([self.dataset, self.split, self.victim.digest, setting, self.examples])

    def cell(self, beta: float | None, kappa: float, decision_rule: str | None) -> Cell:
        """The cell of this shard's setting that has these."""
        return Cell(
            dataset=self.dataset,
            split=self.split,
            victim=self.victim.digest,
            attack=self.setting.attack,
            parameters=self.setting.parameters,
            beta=beta,
            kappa=kappa,
            decision_rule=decision_rule,
        )

    @cached_property
    def cell_digests(self) -> Mapping[tuple[float | None, float, str | None], str]:
        """The digest of each cell of this shard's setting, by β, κ and decision rule."""
        return {(cell.beta, cell.kappa, cell.decision_rule): cell.digest for cell in self.cells()}

    def cells(self) -> list[Cell]:
        """Every cell of this shard's setting."""
        setting = self.setting
        return [self.cell(*axes) for axes in product(setting.betas, setting.kappas, setting.decision_rules)]


def settings(spec: Spec) -> list[Setting]:
    """The attacks of a spec; each norm is a setting of its own."""
    found = []
    for entry in spec.attacks:
        fixed = {name: value for name, value in entry.items() if name not in ("name", "decision_rules", *AXES)}
        for norm in entry.get("norm", [None]):
            found.append(
                Setting(
                    attack=entry["name"],
                    parameters=fixed | {"targeted": spec.targeted} | ({"norm": norm} if norm else {}),
                    betas=entry.get("beta", [None]),
                    kappas=entry.get("kappa", [0.0]),
                    decision_rules=entry.get("decision_rules", [None]),
                )
            )
    return found


def drawn_images(spec: Spec, size: int, wrong: Sequence[int]) -> list[int]:
    """The images to attack, of a split of `size` images without those in `wrong`, which are classified wrongly.

    The order is drawn from the spec's seed alone, so victims share the images that each gets right, and a greater
    count adds images to those of a smaller one.
    """
    order = list(range(size))
    random.Random(f"images/{spec.seed}/{spec.images.split}").shuffle(order)
    left_out = set(wrong)
    return list(islice((image for image in order if image not in left_out), spec.images.count))


def targets(spec: Spec, dataset: str, image: int, label: int, classes: int) -> list[int | None]:
    """The target classes of an image: ascending incorrect classes, or [None] for an untargeted attack."""
    if not spec.targeted:
        return [None]
    incorrect = [target for target in range(classes) if target != label]
    if isinstance(spec.targets, RandomTargets):
        draw = random.Random(f"targets/{spec.seed}/{dataset}/{spec.images.split}/{image}")
        incorrect = sorted(draw.sample(incorrect, min(spec.targets.random, len(incorrect))))
    return [*incorrect]


def blocks(spec: Spec, dataset: str, victims: Sequence[Victim]) -> list[Shard]:
    """One empty shard for every attacked victim and setting: what the sweep's shards and cells are cut from."""
    return [
        Shard(
            dataset=dataset,
            split=spec.images.split,
            victim=victim,
            setting=setting,
            examples=(),
            save_images=spec.save_images == "successes",
        )
        for victim, setting in product(victims, settings(spec))
        if victim.attacked
    ]


class Size(NamedTuple):
    """How large a sweep is."""

    cells: int
    shards: int
    examples: int


def size(spec: Spec, classes: int, victims: int) -> Size:
    """How large a sweep of that many attacked victims is, with nothing gone through."""
    per_cell = examples_per_cell(spec, classes)
    settled = settings(spec)
    points = [len(setting.betas) * len(setting.kappas) for setting in settled]
    return Size(
        cells=victims * sum(n * len(s.decision_rules) for n, s in zip(points, settled, strict=True)),
        shards=victims * sum(ceil(n * per_cell / spec.shard_size) for n in points),
        examples=victims * sum(points) * per_cell,
    )


def examples_per_cell(spec: Spec, classes: int) -> int:
    """Images times target classes."""
    if not spec.targeted:
        return spec.images.count
    most = spec.targets.random if isinstance(spec.targets, RandomTargets) else classes - 1
    return spec.images.count * min(most, classes - 1)


def shards(spec: Spec, dataset: str, classes: int, victims: Sequence[Victim]) -> Iterator[Shard]:
    """Every shard of a sweep, lazily: image after image, each at every β, κ and target."""
    for block in blocks(spec, dataset, victims):
        victim = block.victim
        examples = (
            Example(image, label, target, beta, kappa)
            for image, label in zip(victim.images, victim.labels, strict=True)
            for beta, kappa in product(block.setting.betas, block.setting.kappas)
            for target in targets(spec, dataset, image, label, classes)
        )
        light = replace(block, victim=replace(victim, images=(), labels=()))  # each shard travels to a worker
        while part := tuple(islice(examples, spec.shard_size)):
            yield replace(light, examples=part)
