"""How long a sweep will take: from the records of its folder where there are any, else from trials of seconds."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import nn

from eadbench import models
from eadbench.harness.datasets import Split
from eadbench.harness.execution.forecast import worker_price
from eadbench.harness.execution.pace import records_of
from eadbench.harness.execution.probing import built, sample
from eadbench.harness.execution.room import needs, this_machine
from eadbench.harness.execution.room import room as room_for
from eadbench.harness.execution.sweep import Plan
from eadbench.harness.execution.trials import (
    Seconds,
    attack_seconds,
    briefly_trained,
    forward_seconds,
    training_seconds,
)
from eadbench.harness.execution.versions import device_name
from eadbench.harness.plan import grid
from eadbench.harness.plan.cells import Example, Setting
from eadbench.harness.plan.recipes import defense_of, needs_of
from eadbench.harness.results.folder import Results
from eadbench.harness.results.model_files import in_front, load_model, read_model
from eadbench.harness.spec import Spec
from eadbench.models import Recipe

__all__ = ["Estimate", "Part", "estimate"]

SECONDS = 3.0
"""Seconds of a trial."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some work of a sweep, and the seconds that one worker takes for it."""

    victim: str
    """Digest."""
    what: str
    """`training`, `crafting`, the name of an attack, or `transfer`."""
    seconds: Seconds
    measured: bool
    """Whether shards in the folder tell, and not a trial."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """How long a sweep will take."""

    parts: Sequence[Part]
    workers: int
    gpus: float
    """GPUs of each worker."""
    device: str
    """What trials ran on."""
    longest_training: Seconds
    """The longest chain of trainings of which each needs the one before."""

    @property
    def seconds(self) -> Seconds:
        """Seconds from start to end, on all workers."""
        return Seconds(*(self._wall(bound) for bound in ("likely", "most")))

    def _wall(self, bound: str) -> float:
        trainings = sum(float(getattr(part.seconds, bound)) for part in self.parts if part.what == "training")
        others = sum(float(getattr(part.seconds, bound)) for part in self.parts if part.what != "training")
        return max(trainings / self.workers, float(getattr(self.longest_training, bound))) + others / self.workers

    def cost(self, price: float) -> Seconds:
        """Return what the workers cost at a price per GPU-hour."""
        per_second = self.workers * worker_price(price, self.gpus) / 3600
        return Seconds(self.seconds.likely * per_second, self.seconds.most * per_second)


def estimate(spec: Spec, plan: Plan, *, workers: int | None = None, seconds: float = SECONDS) -> Estimate:
    """Try what is left of a sweep, and return how long it takes.

    Parameters
    ----------
    workers
        Unless given, those of the spec, or as many as fit on this machine.
    seconds
        How long each attack and each training is tried.
    """
    asked = needs(spec.resources, [this_machine()])
    count = workers or spec.resources.workers or max(1, room_for(asked, [this_machine()]))
    trials = _Trials(spec, plan, seconds)
    parts = [*trials.trainings(), *trials.crafting(), *trials.attacks(), *trials.transfers()]
    return Estimate(
        parts=parts,
        workers=count,
        gpus=asked["GPU"],
        device=device_name(trials.device),
        longest_training=trials.longest(parts),
    )


class _Trials:
    """The trials of one plan. Victims of one architecture share them."""

    def __init__(self, spec: Spec, plan: Plan, seconds: float) -> None:
        self._spec, self._plan, self._seconds = spec, plan, seconds
        self._data, self._results = plan.data, Results(plan.folder)
        self._planned = {victim.recipe.digest: victim for victim in plan.planner.planned}
        self._victims = {victim.digest: victim for victim in plan.victims}
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._known: dict[str, Seconds] = {}
        self._stand_ins: dict[str, nn.Module] = {}
        """Networks that stand in for those that are not trained yet."""
        self._left = Counter[tuple[str, Setting]]()
        self._shard_size = Counter[tuple[str, Setting]]()
        for shard in plan.remaining:
            kind = shard.victim.digest, shard.setting
            self._left[kind] += shard.size
            self._shard_size[kind] = max(self._shard_size[kind], shard.size)

    def trainings(self) -> Iterator[Part]:
        """Yield the trainings that are left, and the tests of the victims."""
        crafted = {recipe.digest: crafting for recipe, crafting in self._plan.planner.crafting_specs()}
        for recipe in self._plan.unmade:
            if recipe.training is not None:
                count = self._crafted(crafted[recipe.digest]) if recipe.digest in crafted else 0
                key = f"training {recipe.defense['name']} {recipe.training} {count} {_network(recipe)}"
                if key not in self._known:
                    self._known[key] = training_seconds(
                        recipe, self._data, count, seconds=self._seconds, device=self.device
                    )
                yield Part(victim=recipe.digest, what="training", seconds=self._known[key], measured=False)
        split = getattr(self._data, self._spec.images.split)
        for victim in self._plan.victims:
            if victim.accuracy is None:
                yield self._forwards(victim.digest, "testing", victim.digest, len(split))

    def crafting(self) -> Iterator[Part]:
        """Yield the crafting of the examples that trainings need."""
        train = self._data.train
        for recipe, spec in self._plan.planner.crafting_specs():
            crafting = defense_of(recipe).crafts()
            assert crafting is not None
            source = needs_of(recipe)[crafting.on]
            per_setting = self._crafted(spec) // len(grid.settings(spec))
            size = grid.shard_size(spec, per_setting)
            images = range(crafting.images)
            trials = [self._try(source, each, images, train, size) for each in grid.settings(spec)]
            yield Part(victim=recipe.digest, what="crafting", seconds=_sum(trials, per_setting), measured=False)

    def attacks(self) -> Iterator[Part]:
        """Yield the attacks that are left, by victim and attack."""
        split = getattr(self._data, self._spec.images.split)
        rates = _measured(self._results)
        by_kind: dict[tuple[str, str], list[tuple[Setting, int]]] = defaultdict(list)
        for (digest, setting), examples in self._left.items():
            by_kind[digest, setting.attack].append((setting, examples))
        for (digest, attack), settings in by_kind.items():
            measured = rates.get((digest, attack))
            victim, recipe = self._victims[digest], self._planned[digest].recipe
            trials = [
                _sum(
                    [measured or self._try(recipe, setting, victim.images, split, self._shard_size[digest, setting])],
                    examples,
                )
                for setting, examples in settings
            ]
            yield Part(victim=digest, what=attack, seconds=_sum(trials, 1), measured=measured is not None)

    def transfers(self) -> Iterator[Part]:
        """Yield the tests of the examples that are left on other victims."""
        for victim in self._plan.victims:
            examples = sum(
                count * len(setting.decision_rules)
                for (digest, setting), count in self._left.items()
                if digest == victim.digest
            )
            for other in victim.evaluated_on if examples else ():
                yield self._forwards(victim.digest, "transfer", other, examples)

    def longest(self, parts: Sequence[Part]) -> Seconds:
        """Return how long the longest chain of trainings takes, of which each needs the one before."""
        own = {part.victim: part.seconds for part in parts if part.what == "training"}

        def chain(recipe: Recipe, bound: str) -> float:
            needed = max((chain(each, bound) for each in needs_of(recipe).values()), default=0.0)
            return needed + float(getattr(own.get(recipe.digest, Seconds(0, 0)), bound))

        longest = (max((chain(each, bound) for each in self._plan.unmade), default=0.0) for bound in ("likely", "most"))
        return Seconds(*longest)

    def _crafted(self, spec: Spec) -> int:
        """Return the number of examples that a sweep crafts to train on."""
        points = sum(setting.points for setting in grid.settings(spec))
        return points * (spec.images.limit or 0) * grid.targets_per_image(spec, len(self._data.target_classes))

    def _try(self, recipe: Recipe, setting: Setting, images: Sequence[int], split: Split, shard_size: int) -> Seconds:
        """Try a setting on images of a victim, or on another victim of its architecture, in a batch as a shard has."""
        batch_size = 128 if self._spec.batch_size == "auto" else self._spec.batch_size
        rows = min(batch_size, shard_size)
        key = f"{setting.digest} {rows} {_network(recipe)}"
        if key not in self._known:
            points = [*product(setting.betas, setting.kappas)]
            examples = []
            for i in range(rows):
                image = images[i * len(images) // rows]
                label = int(split.labels[image])
                target = _target(label, self._data.target_classes, i) if setting.parameters["targeted"] else None
                examples.append(Example(image, label, target, *points[i % len(points)]))
            pixels = split.images([example.image for example in examples]).to(self.device)
            self._known[key] = attack_seconds(
                self._network(recipe), setting, examples, pixels, seconds=self._seconds, batch_size=batch_size
            )
        return self._known[key]

    def _forwards(self, victim: str, what: str, tested: str, images: int) -> Part:
        """Return the forward passes of some images through a victim."""
        recipe = self._planned[tested].recipe
        key = f"forward {_network(recipe)}"
        if key not in self._known:
            images_of = sample(getattr(self._data, self._spec.images.split)).to(self.device)
            took = forward_seconds(self._network(recipe), images_of)
            self._known[key] = Seconds(took, 2 * took)
        return Part(victim=victim, what=what, seconds=_sum([self._known[key]], images), measured=False)

    def _network(self, recipe: Recipe) -> nn.Module:
        """Return a stored network, or what stands in for one that is not trained yet."""
        folder = self._results.model(recipe.digest)
        if models.is_stored(folder):
            return load_model(read_model(folder), self.device)
        if recipe.training is None:
            return built(self._planned[recipe.digest]).to(self.device)
        key = f"{recipe.training} {_network(recipe)}"
        if key not in self._stand_ins:
            self._stand_ins[key] = briefly_trained(recipe, self._data, seconds=self._seconds, device=self.device)
        return in_front(recipe, self._stand_ins[key])


def _sum(each: Sequence[Seconds], times: float) -> Seconds:
    return Seconds(times * sum(one.likely for one in each), times * sum(one.most for one in each))


def _target(label: int, classes: Sequence[int], turn: int) -> int:
    others = [target for target in classes if target != label]
    return others[turn % len(others)]


def _measured(results: Results) -> Mapping[tuple[str, str], Seconds]:
    """Return the seconds per example of the shards in a folder, by victim and attack."""
    rates: dict[tuple[str, str], list[float]] = defaultdict(list)
    for record in records_of(results):
        rates[record.victim, record.attack].append(record.seconds / record.examples)
    return {kind: Seconds(sum(each) / len(each), max(each)) for kind, each in rates.items()}


def _network(recipe: Recipe) -> str:
    """Return what identifies an architecture, whatever its weights."""
    return f"{recipe.arch} {dict(recipe.parameters)} {recipe.num_classes}"
