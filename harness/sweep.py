"""A sweep, from its spec to its rows: victims first, then every shard that is not done."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness import datasets, grid
from harness.datasets import DataSet
from harness.errors import EadbenchError, UserError
from harness.executor import Executor, Outcome
from harness.grid import Shard, Victim
from harness.progress import Progress
from harness.results import Results
from harness.spec import Spec
from harness.worker import Setup, Tally, VictimTask
from models import Recipe, Training, build, initial_parameters, is_stored, sha256_of_file

MakeExecutor = Callable[[Setup, Progress], Executor]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What there is to do; for victims that are not ready, a forecast that they get every image right."""

    data: DataSet
    victims: Sequence[Victim]
    unready: Sequence[VictimTask]
    missing: Sequence[Shard]


@dataclass(frozen=True, kw_only=True)
class Done:
    """What an invocation did."""

    victims: int
    shards: int
    examples: int
    failures: Sequence[Outcome]
    gradient_evaluations: int
    worker_seconds: float
    """Spent on shards, by all workers together."""

    @property
    def nothing(self) -> bool:
        """Whether all had been done before."""
        return not (self.victims or self.shards or self.failures)


def plan(spec: Spec, results: Results) -> Plan:
    """What there is to do for `spec` in `results`, with no work done."""
    data = datasets.load(**spec.dataset)
    tasks = victim_tasks(spec, data)
    victims = [_victim(spec, data, results, task.recipe) for task in tasks]
    return Plan(
        data=data,
        victims=victims,
        unready=[task for task in tasks if not _is_ready(spec, data, results, task.recipe)],
        missing=list(results.missing(grid.shards(spec, data.identity, data.classes, victims))),
    )


def run(spec: Spec, results: Results, executor: MakeExecutor, progress: Progress) -> Done:
    """Do what is missing of a sweep; workers are started only if there is work for them.

    Raises
    ------
    UserError
        The spec asks for what its data or victims do not have, or its workers do not fit.
    EadbenchError
        A victim cannot be made ready.
    """
    results.begin(spec)
    setup = Setup(
        dataset=spec.dataset,
        split=spec.images.split,
        results=results.root.absolute(),
        batch_size=spec.batch_size,
        threads=spec.resources.threads,
    )
    with ExitStack() as stack:

        @cache
        def workers() -> Executor:
            with progress.waiting("starting the workers"):
                return stack.enter_context(executor(setup, progress))

        unready = plan(spec, results).unready
        for task in unready:
            _check_architecture(task.recipe)
        for outcome in workers().run(unready) if unready else ():
            if outcome.error:
                raise EadbenchError(f"a victim could not be made ready: {outcome.reason}")

        progress.victims_ready()

        ready = plan(spec, results)
        for victim in ready.victims:
            if len(victim.images) < spec.images.count:
                raise UserError(
                    f"images.count: {spec.images.count} asked for, but {victim.arch} ({victim.digest}) classifies only "
                    f"{len(victim.images)} images of the {spec.images.split} split correctly"
                )
        results.write_victims(ready.data.identity, ready.victims)

        failures: list[Outcome] = []
        tallies: list[Tally] = []
        if ready.missing:
            progress.begin_sweep(workers().workers(), ready.missing)
            for outcome in workers().run(ready.missing):
                assert isinstance(outcome.task, Shard)
                progress.shard_ended(outcome)
                if outcome.error:
                    results.write_failure(outcome.task.digest, outcome.error)
                    failures.append(outcome)
                elif outcome.tally:
                    tallies.append(outcome.tally)
    return Done(
        victims=len(unready),
        shards=len(ready.missing) - len(failures),
        examples=sum(len(shard.examples) for shard in ready.missing),
        failures=failures,
        gradient_evaluations=sum(tally.gradient_evaluations for tally in tallies),
        worker_seconds=sum(tally.seconds for tally in tallies),
    )


def victim_tasks(spec: Spec, data: DataSet) -> list[VictimTask]:
    """The recipes of a spec's victims, each once."""
    tasks = {}
    for i, victim in enumerate(spec.victims):
        if victim.weights is not None and not Path(victim.weights).is_file():
            raise UserError(f"victims[{i}].weights: there is no file {victim.weights}")
        recipe = Recipe(
            arch=victim.arch,
            parameters=victim.parameters,
            num_classes=data.classes,
            trained_on=data.identity,
            defense={"name": victim.defense},
            training=None if victim.training is None else Training(**victim.training),
            weights=None if victim.weights is None else sha256_of_file(victim.weights),
        )
        tasks[recipe.digest] = VictimTask(recipe=recipe, weights=victim.weights)
    return list(tasks.values())


def _check_architecture(recipe: Recipe) -> None:
    """Build a victim once here, so that a wrong name or parameter is found before a worker is started."""
    try:
        build(recipe.arch, num_classes=recipe.num_classes, **initial_parameters(recipe.arch, recipe.parameters))
    except (TypeError, ValueError) as error:
        raise UserError(f"victims: arch {recipe.arch}: {error}") from error


def _is_ready(spec: Spec, data: DataSet, results: Results, recipe: Recipe) -> bool:
    tested = results.evaluation(recipe.digest, data.identity, spec.images.split)
    return is_stored(results.model(recipe.digest)) and tested is not None


def _victim(spec: Spec, data: DataSet, results: Results, recipe: Recipe) -> Victim:
    """The victim of a recipe, and the images that a spec draws for it."""
    split = getattr(data, spec.images.split)
    tested = results.evaluation(recipe.digest, data.identity, spec.images.split)
    images = grid.drawn_images(spec, len(split), tested.wrong if tested else ())
    return Victim(
        digest=recipe.digest,
        arch=recipe.arch,
        defense=recipe.defense["name"],
        temperature=recipe.defense.get("temperature"),
        trained_on=recipe.trained_on,
        accuracy=tested.accuracy if tested else None,
        images=images,
        labels=split.labels[images].tolist(),
    )
