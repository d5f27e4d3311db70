"""A sweep, from its spec to its rows: first its victims, then the shards left to run, then the transfers."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from eadbench.harness.datasets import DataSet
from eadbench.harness.errors import UserError
from eadbench.harness.execution.checks import (
    check_image_counts,
    check_same_images,
    check_sweep,
    check_writable,
    suspicions_of,
)
from eadbench.harness.execution.pace import work_of
from eadbench.harness.execution.progress import Progress
from eadbench.harness.execution.remaining import Remaining, remaining_transfers
from eadbench.harness.execution.runner import Failure, MakeExecutor, Runner, Totals
from eadbench.harness.execution.sweep_data import data_here, load_data, originals
from eadbench.harness.execution.tested_victims import StoredVictim
from eadbench.harness.execution.victims import VictimPlanner
from eadbench.harness.parquet.originals import write_originals
from eadbench.harness.plan import grid
from eadbench.harness.plan.grid import Victim
from eadbench.harness.plan.recipes import Planned, planned
from eadbench.harness.plan.tasks import Setup
from eadbench.harness.results.cells import add_cells
from eadbench.harness.results.folder import Results
from eadbench.harness.results.owner import Owner, working_in
from eadbench.harness.results.row_code import changed_code
from eadbench.harness.results.row_weights import check_weights
from eadbench.harness.spec import Spec
from eadbench.harness.storage import is_read_only
from eadbench.models import Recipe, is_stored
from eadbench.models.fetching import nothing_fetched

__all__ = ["Done", "Plan", "plan", "run", "transfer"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would do. A victim that is not ready counts as one that classifies every image correctly."""

    folder: Path
    data: DataSet
    victims: Sequence[Victim]
    unmade: Sequence[Recipe]
    """The models that are stored nowhere yet, each after those that it needs."""
    remaining: Remaining
    """The shards left to run."""
    warnings: Sequence[str]
    """What is suspicious about the victims."""
    planner: VictimPlanner


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


def plan(
    spec: Spec,
    results: Results,
    *,
    models: Path | None = None,
    check_workers: Callable[[DataSet], None] = lambda _: None,
) -> Plan:
    """Return what :func:`run` would do, without doing it; refuse what it would refuse before its first worker works.

    Nothing is fetched: data and published weights that are not on this machine are refused.

    Parameters
    ----------
    models
        As for :func:`run`.
    check_workers
        Refuses workers that cannot be started, given the data set. Called if there is something to run.
    """
    results.check(spec)
    with nothing_fetched():
        data = data_here(spec)
        planner = VictimPlanner(spec, data, results)
        suspicions = check_sweep(spec, data, planner, results)
    victims = planner.victims()
    check_image_counts(spec, victims)
    if not _complete(spec, data, results, planner):
        check_writable(results.root)
        check_workers(data)
        if (owner := working_in(results.root)) is not None:
            suspicions.append(f"{results.root}: {owner}, works in this folder; `run` must wait for it to end")
    return Plan(
        folder=results.root,
        data=data,
        victims=victims,
        unmade=[recipe for recipe in planner.unmade() if models is None or not is_stored(models / recipe.digest)],
        remaining=_remaining(spec, data, results, victims),
        warnings=[*suspicions, *suspicions_of(spec, victims), *changed_code(results)],
        planner=planner,
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
    data = load_data(spec)
    planner = VictimPlanner(spec, data, results)
    check_sweep(spec, data, planner, results)
    check_image_counts(spec, planner.victims())
    try:
        owner.claim()
    except OSError as error:
        if is_read_only(error) and results.answers(spec) and _complete(spec, data, results, planner):
            return Done(victims=0, failures=(), **asdict(Totals()))
        raise
    results.check(spec)  # again, for another command may have begun a sweep meanwhile
    check_weights(results)
    results.begin(spec)
    setup = _setup(spec, results, models)
    with Runner(
        setup, data, results, executor, progress, check=owner.check, asked_to_stop=lambda: owner.asked_to_stop
    ) as runner:
        models_made = runner.make_victims(planner)
        victims = planner.victims()
        check_image_counts(spec, victims)
        for text in [*data.notes, *suspicions_of(spec, victims), *changed_code(results)]:
            progress.warn(text)
        remaining = _remaining(spec, data, results, victims)
        results.write_victims(data.identity, victims, data.shape, data.target_classes, data.class_names)
        write_originals(results.originals, originals(data, spec.images.split, victims))
        add_cells(results.root, (cell for block in grid.blocks(spec, data.identity, victims) for cell in block.cells()))
        runner.attack(
            remaining,
            grid.size(spec, len(data.target_classes), victims),
            examples_per_cell=grid.examples_per_cell(spec, len(data.target_classes), victims),
            work=work_of(spec, data.identity, len(data.target_classes), victims),
        )
        runner.transfer(remaining_transfers(results, planner.others(), spec.images.split))
    return _done(runner, models_made)


def transfer(
    spec: Spec | None,
    results: Results,
    executor: MakeExecutor,
    progress: Progress,
    *,
    owner: Owner,
    models: Path | None = None,
    stored: Sequence[StoredVictim] = (),
) -> Done:
    """Make the victims of `spec`, and test the stored images of a finished sweep on them and on `stored` models.

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
    data = load_data(source)
    ours: list[Planned] = []
    if spec is None:
        spec = source
    else:
        given = load_data(spec)
        check_same_images(given, data, results)
        data, ours = given, planned(spec, given)
    victims = {victim.recipe.digest: victim for victim in ours}
    victims |= {victim.recipe.digest: victim for victim in (each.planned(data, results) for each in stored)}
    planner = VictimPlanner(spec, data, results, list(victims.values()))
    check_sweep(spec, data, planner, results)
    setup = _setup(spec, results, models)
    with Runner(
        setup, data, results, executor, progress, check=owner.check, asked_to_stop=lambda: owner.asked_to_stop
    ) as runner:
        models_made = runner.make_victims(planner)
        check_weights(results)
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


def _remaining(spec: Spec, data: DataSet, results: Results, victims: Sequence[Victim]) -> Remaining:
    shards = partial(grid.shards, spec, data.identity, data.target_classes, victims)
    return Remaining(results, shards, with_images=spec.save_images == "successes")


def _complete(spec: Spec, data: DataSet, results: Results, planner: VictimPlanner) -> bool:
    """Return whether a folder has all that a spec asks for."""
    if planner.next_tasks().all():
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
