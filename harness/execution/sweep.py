"""A sweep, from its spec to its rows: victims first, then every shard that is not done, then the transfers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from eadbench.harness import datasets
from eadbench.harness.datasets import DataSet
from eadbench.harness.errors import UserError
from eadbench.harness.execution.progress import Progress
from eadbench.harness.execution.remaining import Missing
from eadbench.harness.execution.runner import Crew, Failure, MakeExecutor
from eadbench.harness.plan import grid
from eadbench.harness.plan import recipes as victims
from eadbench.harness.plan.grid import Victim
from eadbench.harness.plan.tasks import Setup
from eadbench.harness.results.folder import Results
from eadbench.harness.spec.schema import Spec
from eadbench.models import Recipe


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What there is to do; for victims that are not ready, a forecast that they get every image right."""

    data: DataSet
    victims: Sequence[Victim]
    unmade: Sequence[Recipe]
    """The models that are not stored yet, each after those that it needs."""
    missing: Missing


@dataclass(frozen=True, kw_only=True)
class Done:
    """What an invocation did."""

    victims: int
    shards: int
    transfers: int
    """Shards tested on another victim."""
    examples: int
    failures: Sequence[Failure]
    gradient_evaluations: int
    worker_seconds: float
    """Spent on shards, by all workers together."""
    unconfirmed: int
    """Examples found by a search that float32 did not confirm."""
    image_shape: tuple[int, int, int]
    """(C, H, W)."""

    @property
    def nothing(self) -> bool:
        """Whether all had been done before."""
        return not (self.victims or self.shards or self.transfers or self.failures)


def plan(spec: Spec, results: Results) -> Plan:
    """What there is to do for `spec` in `results`, with no work done."""
    data = datasets.load(**spec.dataset)
    entries = victims.planned(spec, data)
    drawn = victims.ready(entries, spec, data, results)
    return Plan(
        data=data,
        victims=drawn,
        unmade=victims.unmade(entries, results),
        missing=_missing(spec, data, results, drawn),
    )


def run(
    spec: Spec, results: Results, executor: MakeExecutor, progress: Progress, *, models: Path | None = None
) -> Done:
    """Do what is missing of a sweep; workers are started only if there is work for them.

    Parameters
    ----------
    models
        A store of trained models that this sweep shares with others: one that is there is not trained again.

    Raises
    ------
    UserError
        The spec asks for what its data or victims do not have, or its workers do not fit.
    EadbenchError
        A victim cannot be made ready.
    """
    results.begin(spec)
    data = datasets.load(**spec.dataset)
    with Crew(_setup(spec, results, models), data, results, executor, progress) as crew:
        entries = victims.planned(spec, data)
        made = crew.make_ready(entries, spec)
        drawn = victims.ready(entries, spec, data, results)
        for victim in drawn:
            if victim.attacked and len(victim.images) < spec.images.count:
                right = "every victim classifies" if spec.images.correct_on == "all" else f"{victim.arch} classifies"
                raise UserError(
                    f"images.count: {spec.images.count} asked for, but {right} only {len(victim.images)} images of "
                    f"the {spec.images.split} split correctly (victim {victim.digest})"
                )
        results.write_victims(data.identity, drawn)
        attacked = sum(victim.attacked for victim in drawn)
        crew.attack(
            _missing(spec, data, results, drawn),
            grid.size(spec, data.classes, attacked),
            per_cell=grid.examples_per_cell(spec, data.classes),
        )
        onto = {entry.recipe.digest: entry.evaluated_on for entry in entries}
        crew.transfer(results.untested(onto, spec.images.split))
    return Done(victims=made, failures=crew.failures, image_shape=data.shape, **asdict(crew.spent))


def transfer(
    spec: Spec, results: Results, executor: MakeExecutor, progress: Progress, *, models: Path | None = None
) -> Done:
    """Test the stored images of a finished sweep on the victims of `spec`, which are made ready first.

    Raises
    ------
    UserError
        The sweep stored no images, or its images do not fit the victims of `spec`.
    EadbenchError
        A victim cannot be made ready.
    """
    crafted_by = results.spec()
    if crafted_by.save_images != "successes":
        raise UserError(f"{results.root}: no images are stored there; run its spec with save_images: successes")
    data, theirs = datasets.load(**spec.dataset), datasets.load(**crafted_by.dataset)
    for what, ours, other in (("classes", data.classes, theirs.classes), ("image shape", data.shape, theirs.shape)):
        if ours != other:
            raise UserError(f"dataset: its {what}, {ours}, must be that of {results.root}: {other}")
    with Crew(_setup(spec, results, models), data, results, executor, progress) as crew:
        entries = victims.planned(spec, data)
        made = crew.make_ready(entries, spec)
        _, crafted_on = results.victims()
        drawn = victims.ready(entries, spec, data, results)
        results.add_tested(drawn)
        targets = [victim.digest for victim in drawn]
        onto = {v.digest: [digest for digest in targets if digest != v.digest] for v in crafted_on if v.attacked}
        crew.transfer(results.untested(onto, crafted_by.images.split))
    return Done(victims=made, failures=crew.failures, image_shape=data.shape, **asdict(crew.spent))


def _missing(spec: Spec, data: DataSet, results: Results, drawn: Sequence[Victim]) -> Missing:
    planned = partial(grid.shards, spec, data.identity, data.classes, drawn)
    return results.missing(planned, with_images=spec.save_images == "successes")


def _setup(spec: Spec, results: Results, models: Path | None) -> Setup:
    return Setup(
        results=results.root.absolute(),
        models=None if models is None else models.absolute(),
        batch_size=spec.batch_size,
        threads=spec.resources.threads,
        precision=spec.precision,
    )
