"""What a worker does: make a victim ready, or attack the examples of a shard."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

import models
from attacks import Adversarial, AttackResult
from attacks.throughput import fastest_batch_size
from defenses import DEFENSES
from harness import datasets
from harness.grid import Shard
from harness.results import Evaluation, Results
from models import Recipe


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What every worker of a sweep is told."""

    dataset: Mapping[str, Any]
    split: str
    results: Path
    batch_size: int | Literal["auto"]
    threads: int


@dataclass(frozen=True, kw_only=True)
class VictimTask:
    """Make the victim of a recipe ready: trained, or loaded from the user's weights file, and tested."""

    recipe: Recipe
    weights: str | None


Task = VictimTask | Shard


class Tally(NamedTuple):
    """What a shard took."""

    gradient_evaluations: int
    seconds: float


Report = Callable[[str, int, int], None]
"""(what is done, how much of it, of how much), told while a task runs."""


class Worker:
    """Runs tasks one after another; what it has done is in the results folder."""

    def __init__(self, setup: Setup, *, name: str = "here", report: Report = lambda *_: None) -> None:
        self.setup, self.name, self.report = setup, name, report
        self.results = Results(setup.results)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.victim = lru_cache(maxsize=1)(self._victim)
        self.batch_size = cache(self._batch_size)

    @cached_property
    def data(self) -> datasets.DataSet:
        """The data set of the sweep."""
        return datasets.load(**self.setup.dataset)

    def do(self, task: Task) -> Tally:
        """Do `task` to its end, and commit what it gives."""
        if self.device == "cpu":
            torch.set_num_threads(self.setup.threads)
        torch.backends.cudnn.allow_tf32 = False  # a success is a success in float32
        torch.backends.cudnn.deterministic = True
        if isinstance(task, Shard):
            return self.attack(task)
        self.make_ready(task)
        return Tally(0, 0.0)

    def make_ready(self, task: VictimTask) -> None:
        """Train (or load) and store a victim that is not stored yet, and test it on the split that is attacked."""
        recipe, data = task.recipe, self.data
        folder = self.results.model(recipe.digest)
        if not models.is_stored(folder):
            models.save(folder, recipe, self._made(task), {})
        if self.results.evaluation(recipe.digest, data.identity, self.setup.split) is None:
            split = getattr(data, self.setup.split)
            predicted = models.predictions(self.victim(recipe.digest), split, device=self.device)
            wrong = (predicted != split.labels).nonzero().squeeze(1).tolist()
            self.results.write_evaluation(
                recipe.digest,
                self.setup.split,
                Evaluation(dataset=data.identity, size=len(split), wrong=wrong),
            )

    def _made(self, task: VictimTask) -> nn.Module:
        recipe = task.recipe
        if task.weights is not None:
            model = models.build(recipe.arch, num_classes=recipe.num_classes, **recipe.parameters)
            models.load_weights(model, task.weights)
            return model
        epochs = recipe.training.epochs if recipe.training else 0
        title = f"training {recipe.arch} ({recipe.digest[:6]}), {epochs} epochs"
        return DEFENSES[recipe.defense["name"]](
            recipe,
            self.data.train,
            device=self.device,
            on_batch=lambda done, total, _: self.report(title, done, total),
        )

    def _victim(self, digest: str) -> nn.Module:
        """As it is stored, so that the worker that trained it attacks the same one as every other."""
        model, _, _ = models.load(self.results.model(digest), device=self.device)
        return model.to(memory_format=torch.channels_last)

    def _batch_size(self, digest: str) -> int:
        """The spec's, or the fastest for that victim on this worker's device."""
        if self.setup.batch_size != "auto":
            return self.setup.batch_size
        image = getattr(self.data, self.setup.split).images([0])[0]
        return fastest_batch_size(self.victim(digest), image.to(self.device))

    def attack(self, shard: Shard) -> Tally:
        """Attack a shard's examples and commit their rows."""
        started, clock = datetime.now(UTC), time.perf_counter()
        images = getattr(self.data, self.setup.split).images([example.image for example in shard.examples])
        labels = torch.tensor([e.label if e.target is None else e.target for e in shard.examples])
        batch_size = self.batch_size(shard.victim.digest)
        attack = shard.setting.build(shard.examples, self.device)
        result = attack(
            self.victim(shard.victim.digest),
            images.to(self.device),
            labels.to(self.device),
            batch_size=batch_size,
        )
        rules = {rule: result[rule or next(iter(result))] for rule in shard.setting.decision_rules}
        rows = _rows(shard, self.data.name, rules, result)
        tally = Tally(int(result.iterations.sum()), time.perf_counter() - clock)
        record = {
            "shard": shard.digest,
            "victim": shard.victim.digest,
            "attack": shard.setting.attack,
            "examples": len(shard.examples),
            "successes": {rule or shard.setting.attack: int(kept.success.sum()) for rule, kept in rules.items()},
            "gradient_evaluations": tally.gradient_evaluations,
            "gradient_evaluations_computed": result.computed,
            "gradient_evaluations_per_second": round(tally.gradient_evaluations / tally.seconds, 1),
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(tally.seconds, 3),
            "worker": self.name,
            "device": torch.cuda.get_device_name() if self.device == "cuda" else "cpu",
            "threads": torch.get_num_threads(),
            "batch_size": batch_size,
            "torch": torch.__version__,
        }
        self.results.commit(shard, rows, record)
        return tally


def _rows(
    shard: Shard, dataset: str, rules: Mapping[str | None, Adversarial], result: AttackResult
) -> list[dict[str, Any]]:
    """The rows of a shard, example after example, each by every decision rule."""
    victim = shard.victim
    shared = {
        "dataset": dataset,
        "split": shard.split,
        "model": victim.digest,
        "arch": victim.arch,
        "defense": victim.defense,
        "temperature": victim.temperature,
        "trained_on": victim.trained_on,
        "evaluated_on": victim.digest,
        "attack": shard.setting.attack,
        "norm": shard.setting.parameters.get("norm"),
        "shard": shard.digest,
    }
    cells = {(cell.beta, cell.kappa, cell.decision_rule): cell.digest for cell in shard.cells()}
    figures = {rule: _figures(kept) for rule, kept in rules.items()}
    passes = zip(shard.examples, result.iterations.tolist(), result.forward_passes.tolist(), strict=True)
    return [
        shared
        | example._asdict()
        | {name: values[i] for name, values in figures[rule].items()}
        | {
            "decision_rule": rule,
            "iterations": iterations,
            "forward_passes": forward_passes,
            "cell": cells[example.beta, example.kappa, rule],
        }
        for i, (example, iterations, forward_passes) in enumerate(passes)
        for rule in rules
    ]


def _figures(kept: Adversarial) -> dict[str, Sequence[Any]]:
    """The columns that an attack measures, as Python values, null for NaN."""
    names = ("l0", "l1", "l2", "linf", "margin", "const", "epsilon")
    columns: dict[str, Sequence[Any]] = {
        name: [None if math.isnan(value) else value for value in getattr(kept, name).tolist()] for name in names
    }
    return columns | {"success": kept.success.tolist()}
