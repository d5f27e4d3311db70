"""The pool of workers: they are started, stopped, and replaced when they are lost, as the policy decides."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from eadbench.harness.errors import EnvironmentFault
from eadbench.harness.execution.ray import connection, policy
from eadbench.harness.execution.ray.actor import REMOTE, ReadyReport
from eadbench.harness.execution.ray.policy import Cap, PoolState, Verdict
from eadbench.harness.execution.room import amounts_text, check_fit, needs, room
from eadbench.harness.plan.tasks import Setup
from eadbench.harness.spec import Resources

__all__ = ["PooledWorker", "WorkerPool"]


@dataclass(eq=False, kw_only=True)
class PooledWorker:
    """A worker, ready or not."""

    name: str
    actor: Any
    ready_report: Any
    """The reference to the worker's :class:`ReadyReport`; None once the worker is ready."""
    busy: bool = False

    @property
    def ready(self) -> bool:
        """Whether the worker can take tasks."""
        return self.ready_report is None


class WorkerPool:
    """As many workers as the spec allows and the cluster has room for, both of which may change.

    Parameters
    ----------
    data
        The reference to the data set in Ray's object store.
    local
        Whether the cluster is this machine only, which does not grow.
    markers
        Files that every worker must see.
    workers_ready
        Called with the number of workers that are ready, whenever it changes.
    warn
        Called with a warning: no more workers can be started, or torch cannot use a GPU, or versions differ.
    notice
        Called with what the run waits for, if no worker is ready for some seconds.

    Raises
    ------
    UserError
        A cluster that does not grow has no room for the workers that the spec asks for.
    """

    def __init__(
        self,
        setup: Setup,
        resources: Resources,
        data: Any,
        *,
        local: bool,
        markers: Sequence[Path],
        workers_ready: Callable[[int], None],
        warn: Callable[[str], None],
        notice: Callable[[str], None],
    ) -> None:
        self._setup, self._data, self._markers = setup, data, markers
        self._workers_ready, self._warn, self._notice = workers_ready, warn, notice
        self._warned_of_gpu = self._noticed = False
        self._versions: dict[str, str] = {}
        """The versions that workers compute with, each with the first node of that version."""
        self._asked = resources.workers
        nodes = connection.nodes()
        self._needs = needs(resources, nodes)
        self._options = connection.options(self._needs, resources.threads)
        self._workers: list[PooledWorker] = []
        self._started = self._failed_starts = 0
        self._cap: Cap | None = None
        self._last_ready = time.monotonic()
        if local:
            check_fit(resources, nodes)

    def names(self) -> list[str]:
        """Return the names of all workers, ready or not."""
        return [worker.name for worker in self._workers]

    def idle(self) -> list[PooledWorker]:
        """Return the workers that are ready and have no task."""
        return [worker for worker in self._workers if worker.ready and not worker.busy]

    def ready_reports(self) -> list[Any]:
        """Return the references to the reports of workers that are not ready yet."""
        return [worker.ready_report for worker in self._workers if not worker.ready]

    def adjust(self, waiting: Callable[[int], int]) -> None:
        """Start and stop workers as the policy decides.

        Parameters
        ----------
        waiting
            Counts the tasks that wait for a worker, up to a number.

        Raises
        ------
        EnvironmentFault
            No worker has been ready for too long.
        """
        if not self._workers or any(worker.ready for worker in self._workers):
            self._last_ready, self._noticed = time.monotonic(), False
        state = self._state()
        start, stop = policy.resize(state, waiting(policy.target(state)))
        for _ in range(start):
            self._start()
        if stop:
            for worker in [worker for worker in self._workers if not worker.ready][-stop:]:
                self._remove(worker)
        if policy.out_of_patience(state):
            raise EnvironmentFault(
                f"no worker could run for {policy.PATIENCE / 60:.0f} minutes: {self._needed()}; "
                "what is done stays, run again to go on"
            )
        if policy.worth_a_notice(state) and not self._noticed:
            self._noticed = True
            self._notice(f"waiting for a worker: {self._needed()}")

    def _needed(self) -> str:
        """Return what a worker needs, and what there is."""
        nodes = [amounts_text(node) for node in connection.nodes()]
        return f"each needs {amounts_text(self._needs)}, and the nodes have {'; '.join(nodes) or 'gone'}"

    def take_report(self, reference: Any) -> None:
        """Take in the report of a worker that is ready, or the failure of one that ended before.

        Raises
        ------
        EnvironmentFault
            The worker does not see the results, or workers keep ending before they are ready.
        """
        worker = next(worker for worker in self._workers if worker.ready_report is reference)
        try:
            report: ReadyReport = ray.get(reference)
        except RayError as fault:
            self.lost(worker)
            self._start_failed(fault)
            return
        if report.unseen_folder is not None:
            raise EnvironmentFault(
                f"node {report.node} does not see {report.unseen_folder}: with more than one node, --results and "
                "--models must be folders that all of them share (NFS, EFS, Lustre), or URIs such as s3://bucket/sweep"
            )
        if report.unusable_gpu and not self._warned_of_gpu:
            self._warned_of_gpu = True
            self._warn(
                f"{worker.name} on node {report.node} holds a GPU that torch cannot use, and computes on CPU cores: "
                "its torch has no CUDA, or the node no driver for it"
            )
        self._compare_versions(report)
        worker.ready_report, self._failed_starts = None, 0
        self._report_count()

    def _compare_versions(self, report: ReadyReport) -> None:
        """Warn of a node whose versions differ from those of the first."""
        known = self._versions.setdefault(report.versions, report.node)
        if known is report.node and len(self._versions) > 1:
            (first, node), *_ = self._versions.items()
            self._warn(
                f"node {report.node} computes with {report.versions}, and node {node} with {first}: "
                "their rows agree to rounding only"
            )

    def lost(self, worker: PooledWorker) -> None:
        """Remove a worker that has ended."""
        self._remove(worker)
        self._report_count()

    def _state(self) -> PoolState:
        ready = sum(worker.ready for worker in self._workers)
        return PoolState(
            asked=self._asked,
            room=room(self._needs, connection.nodes()),
            nodes=connection.node_ids(),
            ready=ready,
            busy=sum(worker.busy for worker in self._workers),
            starting=len(self._workers) - ready,
            failed_starts=self._failed_starts,
            seconds_without_worker=time.monotonic() - self._last_ready,
            cap=self._cap,
        )

    def _start_failed(self, fault: RayError) -> None:
        self._failed_starts += 1
        decision = policy.after_failed_start(self._state())
        if decision is Verdict.GIVE_UP:
            raise EnvironmentFault(f"workers end before they are ready: {_cause(fault)}") from fault
        if isinstance(decision, Cap):
            self._cap, self._failed_starts = decision, 0
            self._warn(
                f"{decision.workers} workers at most on these nodes, as others end before they are ready: "
                f"{_cause(fault)}"
            )

    def _start(self) -> None:
        self._started += 1
        name = f"worker-{self._started}"
        actor = REMOTE.options(**self._options).remote(self._setup, name, [self._data])
        report = actor.report_ready.remote(self._markers)
        self._workers.append(PooledWorker(name=name, actor=actor, ready_report=report))

    def _remove(self, worker: PooledWorker) -> None:
        self._workers.remove(worker)
        ray.kill(worker.actor)

    def _report_count(self) -> None:
        self._workers_ready(sum(worker.ready for worker in self._workers))


def _cause(fault: Exception) -> str:
    """Return the last line of Ray's message that names an error, or else its last line."""
    if "out of memory" in str(fault):  # Ray says so in a paragraph; the named error varies
        return "the node is short of memory; ask for fewer workers, or set resources.memory to what one takes"
    lines = str(fault).strip().splitlines()
    errors = [line.strip() for line in lines if re.match(r"\s*[\w.]*(Error|Exception): ", line)]
    return (errors or lines)[-1]
