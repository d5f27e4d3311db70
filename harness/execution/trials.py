"""Trials of a few seconds: how long an attack takes per example, and a training in all, on this machine."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from eadbench import models
from eadbench.attacks.engine.precision import LowerPrecision
from eadbench.attacks.engine.progress import follow
from eadbench.attacks.learning import learner, with_learnt
from eadbench.defenses.undefended import initial_model
from eadbench.harness import datasets
from eadbench.harness.datasets import DataSet
from eadbench.harness.plan.cells import Example, Setting
from eadbench.harness.plan.recipes import defense_of
from eadbench.models import Recipe

__all__ = ["Seconds", "attack_seconds", "briefly_trained", "forward_seconds", "training_seconds"]

LOOKS = 0.1
"""Seconds between two looks at how far a trial has come."""
FEW = 4
"""Examples that are attacked to their end if a batch of them takes longer than a trial."""


class _Enough(Exception):
    """The trial has lasted for long enough."""


@dataclass(frozen=True)
class Seconds:
    """Seconds that something takes, and the most that it can take."""

    likely: float
    most: float


class _Counted(nn.Module):
    """A network whose passes are counted, row by row; it ends a trial that never says how far it has come."""

    def __init__(self, network: nn.Module, seconds: float) -> None:
        super().__init__()
        self.network, self.seconds, self.passes, self.started = network, seconds, 0, time.perf_counter()

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, K)."""
        if time.perf_counter() - self.started > self.seconds:
            raise _Enough
        self.passes += len(images)
        logits: Tensor = self.network(images)
        if logits.requires_grad:
            logits.register_hook(self._count)  # type: ignore[no-untyped-call]
        return logits

    def _count(self, gradient: Tensor) -> None:
        self.passes += len(gradient)


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """What an attack has done until it ended, or until its time was up."""

    share: float
    """The share of its work; 0 if it never said."""
    seconds: float
    passes: int
    most_passes: int
    """The most passes of an example."""


def attack_seconds(
    network: nn.Module,
    setting: Setting,
    examples: Sequence[Example],
    images: Tensor,
    *,
    seconds: float,
    batch_size: int,
) -> Seconds:
    """Attack some examples (N,) for a while, and return the seconds that one of them takes in such a batch.

    If they are not done by then, attack a few of them: a few that are done tell how many passes an example takes.

    Parameters
    ----------
    network
        Maps `images` (N, C, H, W), which are on its device, to logits.
    seconds
        How long to try. An attack that does not say how far it has come is tried for three times as long, and then
        judged by the most passes that it may take.
    batch_size
        The most rows of a pass, N or more.
    """
    count = len(examples)
    whole = _tried(network, setting, examples, images, seconds, batch_size)
    if whole.share == 1.0:
        return Seconds(whole.seconds / count, whole.seconds / count)
    per_pass = whole.seconds / max(1, whole.passes)
    most = whole.most_passes * per_pass
    chosen = [*range(0, count, -(-count // FEW))]
    few = _tried(
        network, setting, [examples[i] for i in chosen], images[chosen], seconds, -(-batch_size * len(chosen) // count)
    )
    if few.share == 1.0:
        likely = few.passes / len(chosen) * per_pass
    else:
        likely = whole.seconds / whole.share / count if whole.share else most
    return Seconds(min(likely, most), most)


def _tried(
    network: nn.Module,
    setting: Setting,
    examples: Sequence[Example],
    images: Tensor,
    seconds: float,
    batch_size: int,
) -> _Trial:
    """Attack some examples to the end, or for a while."""
    labels = torch.tensor([e.label if e.target is None else e.target for e in examples], device=images.device)
    attack = setting.build(examples, images.device)
    if own := learner(attack):
        attack = with_learnt(attack, own.learn(network, images[:1]))
    counted = _Counted(network, 3 * seconds)
    victim = counted if setting.precision == "float32" else LowerPrecision(counted, setting.precision)
    shares = [0.0]

    def look(share: float) -> None:
        shares.append(share)
        if time.perf_counter() - counted.started > seconds:
            raise _Enough

    with suppress(_Enough), follow(look, seconds=LOOKS):
        attack(victim, images, labels, batch_size=batch_size)
        shares.append(1.0)
    took = time.perf_counter() - counted.started
    return _Trial(share=shares[-1], seconds=took, passes=counted.passes, most_passes=attack.most_passes)


def briefly_trained(recipe: Recipe, data: DataSet, *, seconds: float, device: str = "cpu") -> nn.Module:
    """Train the network of a recipe for a while, without its defence.

    An attack takes about as long on it as on the victim. On an untrained network some succeed at once, and some never.
    """
    assert recipe.training is not None
    network, started = initial_model(recipe), time.perf_counter()

    def look(*_: object) -> None:
        if time.perf_counter() - started > seconds:
            raise _Enough

    with suppress(_Enough, models.Diverged):
        models.train(network, data.train, recipe.training, device=device, on_batch=look)
    network.zero_grad()
    return network.to(device).eval()


def training_seconds(recipe: Recipe, data: DataSet, examples: int, *, seconds: float, device: str = "cpu") -> Seconds:
    """Train the network of a recipe for a while, and return the seconds that the whole training takes.

    Parameters
    ----------
    examples
        How many adversarial examples it learns from; images of the training split stand for them.
    """
    started = time.perf_counter()
    looks: list[tuple[float, int, int]] = []

    def look(done: int, total: int, _: float) -> None:
        looks.append((time.perf_counter() - started, done, total))
        if looks[-1][0] > seconds and len(looks) > 1:
            raise _Enough

    defense = defense_of(recipe)
    needed = {part: _built(each, device) for part, each in defense.needs(recipe).items()}
    with suppress(_Enough, models.Diverged):
        defense.train(
            recipe,
            data.train,
            needed=needed,
            examples=_repeated(data.train, examples) if examples else None,
            fit=partial(models.train, device=device, on_batch=look),
        )
    if len(looks) < 2:
        took = time.perf_counter() - started
        return Seconds(took, took)
    (first, before, total), (last, after, _) = looks[0], looks[-1]
    likely = first + (total - before) * (last - first) / (after - before)
    return Seconds(likely, 1.5 * likely)


def forward_seconds(network: nn.Module, images: Tensor) -> float:
    """Return the seconds that a forward pass of one image takes."""
    batch = images.repeat(-(-64 // len(images)), 1, 1, 1)
    with torch.inference_mode():
        network(batch)
        started = time.perf_counter()
        network(batch).sum().item()
    return (time.perf_counter() - started) / len(batch)


def _built(recipe: Recipe, device: str) -> nn.Module:
    return models.build_network(recipe).to(device).eval()


def _repeated(split: datasets.Split, count: int) -> Any:
    """Return a number of images of a split, again and again."""
    indices = [index % len(split) for index in range(count)]
    return torch.utils.data.Subset(split, indices)
