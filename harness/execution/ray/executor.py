"""The loop that gives tasks to workers and takes their outcomes."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import ray
from ray.exceptions import RayError, RayTaskError

from eadbench import models
from eadbench.harness.datasets import DataSet
from eadbench.harness.errors import EnvironmentFault, UserError
from eadbench.harness.execution.executor import Outcome, Watch, title_of
from eadbench.harness.execution.ray.connection import connect
from eadbench.harness.execution.ray.metrics import DriverMeter
from eadbench.harness.execution.ray.queue import Job, Jobs, given_up
from eadbench.harness.execution.ray.runtime_env import code_for
from eadbench.harness.execution.ray.worker_pool import Member, Team
from eadbench.harness.plan.grid import Shard
from eadbench.harness.plan.tasks import Setup, Task, Transfer, VictimTask
from eadbench.harness.results.folder import Results
from eadbench.harness.spec.schema import Spec
from eadbench.harness.storage import marked

LOOK_EVERY = 0.5
"""Seconds between two looks at what there is to do beside ended tasks: workers to start, training to report."""


class RayExecutor:
    """Workers on a Ray cluster. One that is lost is replaced, and its task goes to another.

    Parameters
    ----------
    data
        The data set, which is put into Ray's object store once.
    address : str or None
        Of a running cluster ("auto" finds one on this machine); None starts one here, for as long as this lives.
    spec
        What is run: its resources, and the user's code that it names, which goes to a running cluster.

    Raises
    ------
    UserError
        On entry: the workers asked for do not fit on this machine.
    EnvironmentFault
        On entry: the cluster does not answer. While it runs: no worker can be had, a worker does not see the results,
        or the storage is full.
    """

    def __init__(self, setup: Setup, data: DataSet, watch: Watch, *, address: str | None, spec: Spec) -> None:
        self._setup, self._data, self._watch = setup, data, watch
        self._address, self._spec = address, spec
        self._results = Results(setup.results)
        self._models: dict[str, Any] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            connect(self._address, code_for(self._spec))
            stack.callback(ray.shutdown)
            places = [self._setup.results] + ([self._setup.models] if self._setup.models else [])
            marks = [] if self._address is None else stack.enter_context(marked(places))
            self._meter = DriverMeter()
            self._team = Team(
                self._setup,
                self._spec.resources,
                self._put(self._data),
                local=self._address is None,
                marks=marks,
                staffed=self._staffed,
                warn=self._watch.warn,
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Keep every worker busy, with one task at a time."""
        jobs, running = Jobs(tasks), dict[Any, tuple[Member, Job]]()
        looked = 0.0
        while running or jobs.waiting(1):
            if time.monotonic() - looked > LOOK_EVERY:
                looked = time.monotonic()
                self._team.adjust(jobs.waiting)
                self._report([member for member, job in running.values() if isinstance(job.task, VictimTask)])
            names = self._team.names()
            for member in self._team.idle():
                if (job := jobs.take(member.name, names)) is not None:
                    running[self._submit(member, job)] = (member, job)
            greetings = self._team.greetings()
            for reference in _ended([*running, *greetings]):
                if reference not in running:
                    self._team.greet(reference)
                elif outcome := self._outcome(reference, *running.pop(reference), jobs):
                    yield outcome

    def _submit(self, member: Member, job: Job) -> Any:
        member.busy = True
        return member.handle.do.options(name=title_of(job.task)).remote(job.task, self._victims_of(job.task))

    def _outcome(self, reference: Any, member: Member, job: Job, jobs: Jobs) -> Outcome | None:
        """What became of a job; None if it is tried again."""
        member.busy = False
        try:
            return Outcome(task=job.task, workers=(*job.failed_on, member.name), tally=ray.get(reference))
        except RayTaskError as fault:
            if isinstance(fault.cause, EnvironmentFault):
                raise fault.cause from None
            error = str(fault)
        except RayError as fault:
            self._team.lost(member)
            error = f"{member.name} was lost: {fault}"
        job = jobs.failed(job, member.name)
        outcome = Outcome(task=job.task, workers=job.failed_on, error=error)
        self._meter.failed(given_up=given_up(job))
        if given_up(job):
            return outcome
        self._watch.retried(outcome)
        return None

    def _victims_of(self, task: Task) -> Mapping[str, Any]:
        """References to the victims that a task takes."""
        digest = task.victim.digest if isinstance(task, Shard) else task.onto if isinstance(task, Transfer) else None
        if digest is None:
            return {}
        if digest not in self._models:
            self._models[digest] = ray.put(models.read(self._results.model(digest)))
        return {digest: self._models[digest]}

    def _put(self, data: DataSet) -> Any:
        try:
            return ray.put(data)
        except TypeError as error:
            raise UserError(
                f"dataset: {data.name} cannot be sent to workers; its splits must be such that pickle takes them "
                f"({' '.join(str(error).split())[:200]})"
            ) from error

    def _staffed(self, workers: int) -> None:
        self._meter.staffed(workers)
        self._watch.staffed(workers)

    def _report(self, members: Iterable[Member]) -> None:
        """Pass on what running tasks report; a worker that does not answer at once is asked the next time."""
        asked = [member.handle.last.remote() for member in members]
        answered, _ = ray.wait(asked, num_returns=len(asked), timeout=LOOK_EVERY) if asked else ([], [])
        for reference in answered:
            try:
                title, done, total = ray.get(reference)
            except RayError:  # the task that it runs says so too
                continue
            if title:
                self._watch.report(title, done, total)


def _ended(references: list[Any]) -> list[Any]:
    """Those that have ended, after at most :data:`LOOK_EVERY` seconds."""
    if not references:
        time.sleep(LOOK_EVERY)
        return []
    first, _ = ray.wait(references, timeout=LOOK_EVERY)
    if not first:
        return []
    ended, _ = ray.wait(references, num_returns=len(references), timeout=0)
    return ended
