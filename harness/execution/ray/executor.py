"""The loop that gives tasks to workers on a Ray cluster and takes their outcomes."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Self

import ray
from ray.exceptions import RayError, RayTaskError

from eadbench.harness.datasets import DataSet
from eadbench.harness.errors import DamagedResults, EnvironmentFault, UserError
from eadbench.harness.execution.executor import AnyTask, Observer, Outcome
from eadbench.harness.execution.ray.actor import TaskProgress
from eadbench.harness.execution.ray.connection import connect
from eadbench.harness.execution.ray.metrics import DriverMeter
from eadbench.harness.execution.ray.policy import Verdict, time_limit
from eadbench.harness.execution.ray.queue import QueuedTask, TaskQueue
from eadbench.harness.execution.ray.sending import put
from eadbench.harness.execution.ray.worker_pool import PooledWorker, WorkerPool
from eadbench.harness.execution.user_code import code_for
from eadbench.harness.plan.tasks import Setup, Task
from eadbench.harness.results.folder import Results
from eadbench.harness.results.model_files import read_model
from eadbench.harness.spec import Spec
from eadbench.harness.storage import marked

__all__ = ["RayExecutor"]

POLLED_AFTER = 2.0
"""Seconds after which a task is asked how far it has come. Short ones are not."""

POLL_SECONDS = 0.5
"""Seconds between two looks at what needs attention beside ended tasks: the pool's size, progress to report."""


@dataclass(kw_only=True)
class _Run(Generic[AnyTask]):
    """A task that a worker runs."""

    worker: PooledWorker
    queued: QueuedTask[AnyTask]
    started: float = field(default_factory=time.monotonic)
    alive: float = field(default_factory=time.monotonic)
    """When the task was started, or last reported progress."""
    progress: TaskProgress = field(default_factory=TaskProgress)

    @property
    def task(self) -> AnyTask:
        """The task."""
        return self.queued.task


class RayExecutor:
    """Workers on a Ray cluster. A worker that is lost is replaced, and its task goes to another.

    Parameters
    ----------
    data
        The data set. It is put into Ray's object store once.
    address : str or None
        The address of a running cluster ("auto" finds one on this machine). None starts one on this machine, which
        ends with the executor.
    spec
        The spec that is run: its resources, and the user's code that it names, which is sent to a running cluster.

    Raises
    ------
    UserError
        On entry: the workers that the spec asks for do not fit on this machine.
    EnvironmentFault
        On entry: the cluster does not answer. While it runs: no worker can be started, a worker does not see the
        results, or their storage is full.
    """

    def __init__(self, setup: Setup, data: DataSet, observer: Observer, *, address: str | None, spec: Spec) -> None:
        self._setup, self._data, self._observer = setup, data, observer
        self._address, self._spec = address, spec
        self._results = Results(setup.results)
        self._victims: dict[str, Any] = {}
        """References to victims in the object store, by digest."""
        self._slowest: dict[str, float] = {}
        """Seconds per example of the slowest task that has ended, by kind."""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            connect(self._address, code_for(self._spec))
            stack.callback(ray.shutdown)
            folders = [self._setup.results] + ([self._setup.models] if self._setup.models else [])
            markers = [] if self._address is None else stack.enter_context(marked(folders))
            self._meter = DriverMeter()
            self._pool = WorkerPool(
                self._setup,
                self._spec.resources,
                put(self._data),
                local=self._address is None,
                markers=markers,
                workers_ready=self._workers_ready,
                warn=self._observer.warn,
                notice=self._observer.notice,
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self, tasks: Iterable[AnyTask]) -> Iterator[Outcome[AnyTask]]:
        """Keep every worker busy, with one task at a time. Yield outcomes as tasks end."""
        queue = TaskQueue(tasks)
        running: dict[Any, _Run[AnyTask]] = {}
        polled = 0.0
        while running or queue.waiting(1):
            if time.monotonic() - polled > POLL_SECONDS:
                polled = time.monotonic()
                self._pool.adjust(queue.waiting)
                self._report([run for run in running.values() if polled - run.started > POLLED_AFTER])
            names = self._pool.names()
            for worker in self._pool.idle():
                if (queued := queue.take(worker.name, names)) is not None:
                    running[self._submit(worker, queued.task)] = _Run(worker=worker, queued=queued)
            for reference in _ended([*running, *self._pool.ready_reports()]):
                if reference not in running:
                    self._pool.take_report(reference)
                elif outcome := self._outcome(reference, running.pop(reference), queue):
                    yield outcome
            for reference, run in list(running.items()):
                if error := self._overdue(run):
                    del running[reference]
                    if outcome := self._failed(run, error, queue):
                        yield outcome

    def _submit(self, worker: PooledWorker, task: Task) -> Any:
        """Give a task to a worker, and return the reference to its result."""
        worker.busy = True
        return worker.actor.do.options(name=task.title).remote(task, self._victim_of(task))

    def _outcome(self, reference: Any, run: _Run[AnyTask], queue: TaskQueue[AnyTask]) -> Outcome[AnyTask] | None:
        """Return how a task ended, or None if it is queued again."""
        run.worker.busy = False
        try:
            record = ray.get(reference)
        except RayTaskError as fault:
            if isinstance(fault.cause, DamagedResults | EnvironmentFault | UserError):  # others would fare no better
                raise fault.cause from None
            return self._failed(run, str(fault), queue)
        except RayError as fault:
            self._pool.lost(run.worker)
            return self._failed(run, f"{run.worker.name} was lost: {fault}", queue)
        rate = (time.monotonic() - run.started) / run.task.size
        self._slowest[run.task.kind] = max(rate, self._slowest.get(run.task.kind, 0.0))
        return Outcome(task=run.task, workers=(*run.queued.failed_on, run.worker.name), record=record)

    def _overdue(self, run: _Run[AnyTask]) -> str | None:
        """End the worker of a task that has taken too long. Return the error of the task, None if it has not."""
        limit = time_limit(self._spec.resources.timeout, self._slowest.get(run.task.kind), run.task.size)
        if time.monotonic() - run.alive <= limit:
            return None
        self._pool.lost(run.worker)
        return (
            f"{run.worker.name} was ended: no result{' or progress' * run.task.reports_progress} after {limit:,.0f} s; "
            "if the task is only slow, set resources.timeout to more seconds"
        )

    def _failed(self, run: _Run[AnyTask], error: str, queue: TaskQueue[AnyTask]) -> Outcome[AnyTask] | None:
        """Return the outcome of a task that is given up, or None if it is queued again."""
        queued = queue.failed(run.queued, run.worker.name)
        outcome = Outcome(task=queued.task, workers=queued.failed_on, error=error)
        given_up = queued.verdict is Verdict.GIVE_UP
        self._meter.failed(given_up=given_up)
        if given_up:
            return outcome
        self._observer.retried(outcome)
        return None

    def _victim_of(self, task: Task) -> Mapping[str, Any]:
        """Return a reference to the victim that a task needs, by digest."""
        digest = task.victim_digest
        if digest is None:
            return {}
        if digest not in self._victims:
            self._victims[digest] = ray.put(read_model(self._results.model(digest)))
        return {digest: self._victims[digest]}

    def _workers_ready(self, count: int) -> None:
        self._meter.workers_ready(count)
        self._observer.workers_ready(count)

    def _report(self, runs: Iterable[_Run[AnyTask]]) -> None:
        """Pass on the progress of running tasks. A worker that does not answer at once is asked again later."""
        asked = {run.worker.actor.progress.remote(): run for run in runs}
        answered, _ = ray.wait([*asked], num_returns=len(asked), timeout=POLL_SECONDS) if asked else ([], [])
        for reference in answered:
            try:
                progress: TaskProgress = ray.get(reference)
            except RayError:  # its task will fail too, and say why
                continue
            run = asked[reference]
            if progress != run.progress:
                if progress.notice not in ("", run.progress.notice):
                    self._observer.notice(progress.notice)
                run.progress = progress
                if run.task.reports_progress:
                    run.alive = time.monotonic()
                elif progress.share:
                    self._observer.advanced(run.task, progress.share, time.monotonic() - run.started)
            if progress.title:
                self._observer.report(progress.title, progress.done, progress.total)


def _ended(references: list[Any]) -> list[Any]:
    """Return the references that are available, after waiting at most :data:`POLL_SECONDS` for the first."""
    if not references:
        time.sleep(POLL_SECONDS)
        return []
    first, _ = ray.wait(references, timeout=POLL_SECONDS)
    if not first:
        return []
    ended, _ = ray.wait(references, num_returns=len(references), timeout=0)
    return ended
