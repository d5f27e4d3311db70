"""A worker: make a victim, attack the examples of a shard, or test them on another victim."""

import errno
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache, cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from eadbench import attacks, models
from eadbench.attacks import AttackResult
from eadbench.attacks.engine.inputs import ArgumentWarning
from eadbench.attacks.engine.precision import LowerPrecision
from eadbench.attacks.engine.progress import follow
from eadbench.attacks.engine.throughput import fastest_batch_size
from eadbench.harness import datasets
from eadbench.harness.errors import EnvironmentFault, UserError
from eadbench.harness.execution.allocator import keep_freed_memory
from eadbench.harness.execution.attacked import Attacked, shard_record
from eadbench.harness.execution.box import in_box
from eadbench.harness.execution.detecting import Detectors
from eadbench.harness.execution.learning import ready
from eadbench.harness.execution.making import check_made, ensemble, refuse_own
from eadbench.harness.execution.probing import MEASURED, probed, sample
from eadbench.harness.execution.rows import crafted_images, crafted_rows, roundings, survivals, transferred_rows
from eadbench.harness.execution.training_facts import held_out_facts, training_facts, training_suspicions
from eadbench.harness.execution.versions import device_name
from eadbench.harness.execution.victim_checks import class_suspicions
from eadbench.harness.labels import defense_label
from eadbench.harness.numbers import counted
from eadbench.harness.parquet.adversarial import read_images, write_images
from eadbench.harness.parquet.notes import read_notes
from eadbench.harness.parquet.rows import WHAT, read_rows, write_rows
from eadbench.harness.plan.grid import Shard
from eadbench.harness.plan.recipes import defense_of, needs_of
from eadbench.harness.plan.tasks import Setup, Task, Transfer, VictimTask
from eadbench.harness.results.folder import Results
from eadbench.harness.results.model_files import load_model, load_victim, read_model
from eadbench.harness.results.records import Evaluation, ShardRecord
from eadbench.harness.results.row_code import code_of
from eadbench.harness.storage import located

Report = Callable[[str, int, int], None]
"""Called with a title, how much is done, and how much there is in all."""


class Worker:
    """Run tasks one after another, and commit what they give to the results folder.

    Parameters
    ----------
    report
        Called with the progress of long tasks.
    advance
        Called with the share of a shard that is done, while it runs.
    notice
        Called with a text that says what the worker waits for.
    load_data
        Loads the data set; called once, when it is first needed.
    read_victim
        Reads the victim of a digest that is to be attacked or tested.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        name: str,
        report: Report,
        advance: Callable[[float], None],
        notice: Callable[[str], None],
        load_data: Callable[[], datasets.DataSet],
        read_victim: Callable[[str], models.Stored],
    ) -> None:
        self.setup, self.name, self.report, self.notice = setup, name, report, notice
        self.advance, self.load_data, self.read_victim = advance, load_data, read_victim
        self.results = Results(setup.results)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        keep_freed_memory()
        self.victim = lru_cache(maxsize=1)(self._victim)
        self.weights: dict[str, str] = {}
        """The SHA-256 of the weights of each victim that was loaded."""
        self.batch_size = cache(self._batch_size)
        self.code = cache(partial(code_of, results=self.results))
        """The user's own code behind an attack on a victim, as this process first met it: modules stay imported."""
        self.detectors = Detectors(self.results, self.device, lambda: self.data, self.notice)

    @cached_property
    def data(self) -> datasets.DataSet:
        """The data set of the sweep."""
        return self.load_data()

    def do(self, task: Task) -> ShardRecord | None:
        """Run a task and commit its results. Return what a shard took.

        Raises
        ------
        EnvironmentFault
            The disk of the results is full or cannot be written to.
        """
        try:
            return self._do(task)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                raise
            reason = f"{self.setup.results}: {error.strerror or error}"
            raise EnvironmentFault(f"{reason}; what is done stays: make room, and run again to go on") from error

    def prepare(self) -> None:
        """Set what the rounding of rows depends on."""
        if self.device == "cpu":
            torch.set_num_threads(self.setup.threads)
        torch.backends.cudnn.allow_tf32 = False  # successes are confirmed in float32
        torch.backends.cudnn.deterministic = True

    def _do(self, task: Task) -> ShardRecord | None:
        self.prepare()
        match task:
            case Shard():
                return self.attack(task)
            case Transfer():
                self.transfer(task)
            case VictimTask():
                self.make_victim(task)
            case _:
                raise TypeError(f"no worker can do {task!r}")
        return None

    def make_victim(self, task: VictimTask) -> None:
        """Store a victim if it is not stored yet, and test it on the task's splits."""
        recipe, data = task.recipe, self.data
        folder = self.results.model(recipe.digest)
        if not models.is_stored(folder):
            shared = folder if self.setup.models is None else self.setup.models / recipe.digest
            if not models.is_stored(shared):
                self._store(task, shared)
            read_model(shared)
            if shared != folder:
                models.copy(shared, folder)
        for name in task.tested_on:
            if self.results.evaluation(recipe.digest, data.identity, name) is None:
                split = getattr(data, name)
                self.results.write_evaluation(recipe.digest, name, self._evaluation(recipe, split))

    def _evaluation(self, recipe: models.Recipe, split: datasets.Split) -> Evaluation:
        """Probe a stored victim, and test it on every image of a split."""
        victim, _, facts = load_victim(read_model(self.results.model(recipe.digest)), self.device)
        suspicions = probed(victim, sample(split), recipe, f"victim {recipe.digest}, {recipe.arch}")
        with models.seeded(int(recipe.digest, 16) >> 1, self.device):  # a random victim gets the same images again
            predicted = models.predictions(victim, split, device=self.device)
        with models.seeded(int(recipe.digest, 16) >> 1, self.device):
            figures = attacks.figures_of(victim, sample(split, MEASURED).to(self.device))
        return Evaluation(
            dataset=self.data.identity,
            size=len(split),
            wrong=(predicted != split.labels).nonzero().squeeze(1).tolist(),
            nonfinite=int((predicted < 0).sum()),
            warnings=[*suspicions, *class_suspicions(self.data), *training_suspicions(facts, recipe.num_classes)],
            examples=facts.get("examples", ()),
            held_out=facts.get("held_out", {}),
            figures=figures,
        )

    def _store(self, task: VictimTask, folder: Path) -> None:
        """Make a victim in `folder`, unless another process makes it at the same time."""
        with models.lock(folder, self.notice):
            if not models.is_stored(folder):
                model, facts = self._made(task, folder / "checkpoint.safetensors")
                facts |= check_made(task.recipe, model, self.data.test, self.device)
                facts["input"] = models.input_facts(model, self.data.shape)
                models.save(folder, task.recipe, model, facts)

    def _made(self, task: VictimTask, checkpoint: Path) -> tuple[nn.Module, dict[str, Any]]:
        """Return the victim, the user's weights or a trained model, and facts about its training."""
        recipe = task.recipe
        if task.weights is not None:
            model = models.build_network(recipe, published=False)
            models.load_weights(model, located(task.weights), strict=task.strict)
            return model, {}
        if recipe.members is not None:
            return ensemble(recipe, self.results)
        defense = defense_of(recipe)
        epochs = recipe.training.epochs if recipe.training else 0
        label = defense_label(recipe.defense["name"], recipe.defense_parameters)
        title = f"training {recipe.arch}, {label} ({recipe.digest[:6]}), {counted(epochs, 'epoch')}"
        epochs_held_out: list[float] = []

        def look(shares: Sequence[float]) -> None:
            epochs_held_out[:] = shares

        fit = partial(
            models.train,
            device=self.device,
            on_batch=lambda done, total, _: self.report(title, done, total),
            on_epoch=look,
            checkpoint=checkpoint,
        )
        needed = {part: self._needed(needed.digest) for part, needed in needs_of(recipe).items()}
        records = [self.results.shard_record(shard) for shard in task.examples]
        facts = training_facts(needed, records, self.data.train, self.device)
        try:
            model = defense.train(
                recipe,
                self.data.train,
                needed=needed,
                examples=self._examples(task.examples) if task.examples else None,
                fit=fit,
            )
        except models.Diverged as error:
            raise UserError(f"victim {recipe.digest}, {recipe.arch}, {label}: {error}") from error
        except Exception as error:
            refuse_own(recipe, error)
            raise
        return model, facts | held_out_facts(defense, epochs_held_out)

    def _examples(self, shards: Sequence[str]) -> datasets.Split:
        """Return the adversarial images of shards of the training split, with their true labels."""
        keys, images = read_images([self.results.image_part(shard) for shard in shards])
        labels = self.data.train.labels[keys["image"].tolist()]
        return datasets.Split(labels, partial(datasets.gather, images))

    def _victim(self, digest: str) -> nn.Module:
        """Load a victim from its file, even if this worker trained it: every worker attacks the same weights."""
        stored = self.read_victim(digest)
        self.weights[digest] = stored.sha256
        return self._loaded(stored)

    def _needed(self, digest: str) -> nn.Module:
        """Load a model that a :class:`VictimTask` needs."""
        return self._loaded(read_model(self.results.model(digest)))

    def _loaded(self, stored: models.Stored) -> nn.Module:
        model = load_model(stored, self.device)
        return model.to(memory_format=models.memory_format(model, self.data.shape))

    def _batch_size(self, digest: str) -> int:
        """Return the spec's batch size, or the fastest one for a victim on this device."""
        if self.setup.batch_size != "auto":
            return self.setup.batch_size
        image = self.data.test.images([0])[0]
        return fastest_batch_size(self.victim(digest), image.to(self.device))

    def attack(self, shard: Shard) -> ShardRecord:
        """Attack a shard's examples and commit their rows."""
        attacked = self.attacked(shard)
        if shard.save_images:
            write_images(self.results.image_part(shard.digest), *crafted_images(shard, attacked.rules))
            if shard.setting.parameters.get("quantised"):
                write_images(self.results.rounded_part(shard.digest), *crafted_images(shard, attacked.rounded))
        self.detectors.judge(shard, attacked.rules, self.victim(shard.victim.digest))
        weights = {shard.victim.digest: self.weights[shard.victim.digest]}
        code = self.code(shard.setting.attack, shard.victim.digest)
        self.results.commit(shard, attacked.rows, attacked.record, weights, code)
        return attacked.record

    def attacked(self, shard: Shard) -> Attacked:
        """Attack a shard's examples, and commit nothing."""
        started, clock = datetime.now(UTC), time.perf_counter()
        images = getattr(self.data, shard.split).images([example.image for example in shard.examples])
        labels = torch.tensor([e.label if e.target is None else e.target for e in shard.examples])
        batch_size = self.batch_size(shard.victim.digest)
        attack = shard.setting.build(shard.examples, self.device)
        victim, precision = self.victim(shard.victim.digest), shard.setting.precision
        with models.seeded(int(shard.digest, 16) >> 1, self.device):  # the same noise if it is attacked again
            with warnings.catch_warnings(), follow(self.advance):
                warnings.simplefilter("ignore", ArgumentWarning)  # the probe of the victim says the same, once
                attack = ready(attack, shard, victim, self.data, self.results, self.notice)
                searched = victim if precision == "float32" else LowerPrecision(victim, precision)
                result: AttackResult = attack(
                    self.detectors.guarding(shard, searched, victim),
                    images.to(self.device),
                    labels.to(self.device),
                    batch_size=batch_size,
                )
            returned = {rule: result[rule or next(iter(result))] for rule in shard.setting.decision_rules}
            rules, outside = in_box(returned, images.to(self.device))
            shares = survivals(shard, victim, rules, times=self.setup.confirmations, batch_size=batch_size)
            rounded = roundings(shard, victim, images.to(self.device), rules, batch_size=batch_size)
        rows = crafted_rows(shard, self.data.name, rules, result, shares, rounded, outside)
        random = any(share is not None for share in shares.values())
        seconds = time.perf_counter() - clock
        record = shard_record(
            shard, rules, result, batch_size, started, seconds, random=random, worker=self.name, device=self.device
        )
        return Attacked(rows=rows, rules=rules, rounded=rounded, record=record)

    def transfer(self, task: Transfer) -> None:
        """Test a shard's stored images on another victim, and commit their rows."""
        rows, digest = self.transferred(task), task.victim_digest
        computed = {"torch": torch.__version__, "device": device_name(self.device)}
        [crafted] = read_notes([self.results.part(task.shard)], WHAT)
        weights = {**crafted.weights, digest: self.weights[digest]}
        write_rows(self.results.part(task.shard, digest), rows, computed, weights)

    def transferred(self, task: Transfer) -> list[dict[str, Any]]:
        """Return the rows of a shard's stored images as tested on another victim."""
        rows = read_rows([self.results.part(task.shard)])
        keys, images = read_images([self.results.image_part(task.shard)])
        digest = task.victim_digest
        return transferred_rows(rows, keys, images, self.victim(digest), digest, self.device)
