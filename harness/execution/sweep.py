"""A sweep, from its spec to its rows: first its victims, then the shards left to run, then the transfers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from eadbench.harness import datasets
from eadbench.harness.datasets import DataSet
from eadbench.harness.errors import UserError
from eadbench.harness.execution.progress import Progress
from eadbench.harness.execution.remaining import Remaining, remaining_transfers
from eadbench.harness.execution.runner import Failure, MakeExecutor, Runner, Totals
from eadbench.harness.execution.victim_checks import check_victims
from eadbench.harness.execution.victims import VictimPlanner
from eadbench.harness.labels import Labels
from eadbench.harness.plan import grid
from eadbench.harness.plan.grid import Victim
from eadbench.harness.plan.tasks import Setup
from eadbench.harness.results.cells import add_cells
from eadbench.harness.results.folder import Results
from eadbench.harness.results.owner import Owner
from eadbench.harness.spec import FileTargets, Spec
from eadbench.harness.storage import is_read_only
from eadbench.models import Recipe

__all__ = ["Done", "Plan", "plan", "run", "transfer"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would do. A victim that is not ready counts as one that classifies every image correctly."""

    folder: Path
    data: DataSet
    victims: Sequence[Victim]
    unmade: Sequence[Recipe]
    """The models that are not stored yet, each after those that it needs."""
    remaining: Remaining
    """The shards left to run."""
    warnings: Sequence[str]
    """What is suspicious about the victims."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a run did."""

    victims: int
    """Models that were made."""
    shards: int
    transfers: int
    """Shards that were tested on another victim."""
    examples: int
    failures: Sequence[Failure]
    gradient_evaluations: int
    worker_seconds: float
    """Seconds spent on shards, summed over workers."""
    unconfirmed: int
    """Examples that a search found and that failed when they were tested again, in float32."""
    random: bool
    """Whether a victim that was attacked is random."""

    @property
    def nothing(self) -> bool:
        """Whether nothing was left to do."""
        return not (self.victims or self.shards or self.transfers or self.failures)


def plan(spec: Spec, results: Results) -> Plan:
    """Return what :func:`run` would do, without doing it."""
    results.check(spec)
    data = _load_data(spec)
    planner = VictimPlanner(spec, data, results)
    suspicions = _check(spec, data, planner, results)
    victims = planner.victims()
    _check_image_counts(spec, victims)
    return Plan(
        folder=results.root,
        data=data,
        victims=victims,
        unmade=planner.unmade(),
        remaining=_remaining(spec, data, results, victims),
        warnings=[*suspicions, *_suspicions(victims)],
    )


def run(
    spec: Spec,
    results: Results,
    executor: MakeExecutor,
    progress: Progress,
    *,
    owner: Owner,
    models: Path | None = None,
) -> Done:
    """Run what is left of a sweep. Workers are started only if there is something to run.

    Parameters
    ----------
    owner
        Claims the results folder before anything is written there.
    models
        A store of trained models that sweeps share; a model that it holds is not trained again.

    Raises
    ------
    UserError
        The data, the victims or the machine cannot give what the spec asks for.
    EadbenchError
        A victim cannot be made.
    FolderInUse
        Another command works in the folder.
    """
    results.check(spec)
    data = _load_data(spec)
    planner = VictimPlanner(spec, data, results)
    _check(spec, data, planner, results)
    _check_image_counts(spec, planner.victims())
    try:
        owner.claim()
    except OSError as error:
        if is_read_only(error) and _complete(spec, data, results, planner):
            return Done(victims=0, failures=(), **asdict(Totals()))
        raise
    results.check(spec)  # again, for another command may have begun a sweep meanwhile
    results.begin(spec)
    setup = _setup(spec, results, models)
    with Runner(setup, data, results, executor, progress, check=owner.check) as runner:
        models_made = runner.make_victims(planner)
        victims = planner.victims()
        _check_image_counts(spec, victims)
        for text in _suspicions(victims):
            progress.warn(text)
        results.write_victims(data.identity, victims, data.shape, data.target_classes)
        add_cells(results.root, (cell for block in grid.blocks(spec, data.identity, victims) for cell in block.cells()))
        runner.attack(
            _remaining(spec, data, results, victims),
            grid.size(spec, len(data.target_classes), victims),
            examples_per_cell={
                victim.digest: grid.examples_per_cell(spec, len(data.target_classes), victim) for victim in victims
            },
        )
        runner.transfer(remaining_transfers(results, planner.others(), spec.images.split))
    return _done(runner, models_made)


def transfer(
    spec: Spec,
    results: Results,
    executor: MakeExecutor,
    progress: Progress,
    *,
    owner: Owner,
    models: Path | None = None,
) -> Done:
    """Make the victims of `spec`, and test the stored images of a finished sweep on them.

    Raises
    ------
    UserError
        The sweep stored no images, or its images do not fit the victims of `spec`.
    EadbenchError
        A victim cannot be made.
    FolderInUse
        Another command works in the folder.
    """
    results.spec()  # refuses a folder that holds no sweep, before it is claimed
    owner.claim()
    source = results.spec()
    if source.save_images != "successes":
        raise UserError(f"{results.root}: no images are stored there; run its spec with save_images: successes")
    data = _load_data(spec)
    _check_same_images(data, _load_data(source), results)
    planner = VictimPlanner(spec, data, results)
    _check(spec, data, planner, results)
    setup = _setup(spec, results, models)
    with Runner(setup, data, results, executor, progress, check=owner.check) as runner:
        models_made = runner.make_victims(planner)
        _, sources = results.victims()
        targets = planner.victims()
        results.add_tested(targets)
        others = {
            victim.digest: [target.digest for target in targets if target.digest != victim.digest]
            for victim in sources
            if victim.attacked
        }
        runner.transfer(remaining_transfers(results, others, source.images.split))
    return _done(runner, models_made)


def _load_data(spec: Spec) -> DataSet:
    return datasets.load(spec.dataset.name, **spec.dataset.parameters)


def _check(spec: Spec, data: DataSet, planner: VictimPlanner, results: Results) -> list[str]:
    """Check the victims before any work begins, and return what is suspicious about them."""
    split = getattr(data, spec.images.split)
    if not len(split):
        raise UserError(f"images.split: the data set has no {spec.images.split} split")
    if spec.targeted and len(data.target_classes) < 2:
        [name] = (data.class_names[label] for label in data.target_classes)
        raise UserError(f"targets: every image is of the class {name}, so there is no other class to aim at")
    return check_victims(planner.planned, data, results, split, spec.resources.timeout)


def _suspicions(victims: Sequence[Victim]) -> list[str]:
    """Return what is suspicious about the victims that are ready, each sentence with the victim's label."""
    labels = Labels.of_victims(victims).victim
    return [f"{labels[victim.digest]}: {text}" for victim in victims for text in victim.warnings]


def _check_image_counts(spec: Spec, victims: Sequence[Victim]) -> None:
    """Refuse a victim that classifies fewer images correctly than the spec asks for."""
    for victim in victims:
        if victim.attacked and len(victim.images) < (spec.images.count or 1):
            right = "every victim classifies" if spec.images.correct_on == "all" else f"{victim.arch} classifies"
            where = f"of the {spec.images.split} split"
            if isinstance(spec.targets, FileTargets):
                where += f" in {spec.targets.file}"
            raise UserError(
                f"images.count: {spec.images.count or 1} asked for, but {right} only {len(victim.images)} images "
                f"{where} correctly (victim {victim.digest})"
            )


def _check_same_images(data: DataSet, source: DataSet, results: Results) -> None:
    """Refuse a data set whose images or classes are not those of the sweep in the results."""
    for name, ours, theirs in (
        ("classes", data.classes, source.classes),
        ("image shape", data.shape, source.shape),
    ):
        if ours != theirs:
            raise UserError(f"dataset: its {name}, {ours}, must be that of {results.root}: {theirs}")


def _remaining(spec: Spec, data: DataSet, results: Results, victims: Sequence[Victim]) -> Remaining:
    shards = partial(grid.shards, spec, data.identity, data.target_classes, victims)
    return Remaining(results, shards, with_images=spec.save_images == "successes")


def _complete(spec: Spec, data: DataSet, results: Results, planner: VictimPlanner) -> bool:
    """Return whether a folder has all that a spec asks for."""
    if not results.answers(spec) or planner.next_tasks().all():
        return False
    left = next(iter(_remaining(spec, data, results, planner.victims())), None)
    return left is None and not remaining_transfers(results, planner.others(), spec.images.split)


def _setup(spec: Spec, results: Results, models: Path | None) -> Setup:
    return Setup(
        results=results.root.absolute(),
        models=None if models is None else models.absolute(),
        batch_size=spec.batch_size,
        threads=spec.resources.threads,
        confirmations=spec.confirmations,
    )


def _done(runner: Runner, models_made: int) -> Done:
    return Done(victims=models_made, failures=runner.failures, **asdict(runner.totals))
