"""A worker inside a Ray actor, fed from Ray's object store."""

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ray

from eadbench.harness.execution.ray.metrics import WorkerMeter
from eadbench.harness.execution.versions import versions
from eadbench.harness.execution.worker import Worker
from eadbench.harness.plan.tasks import Setup, Task
from eadbench.harness.results.records import ShardRecord

__all__ = ["REMOTE", "ReadyReport", "RemoteWorker", "TaskProgress"]


class ReadyReport(NamedTuple):
    """What a worker reports once it is ready."""

    node: str
    unseen_folder: str | None
    """A folder of the driver's that the worker does not see."""
    unusable_gpu: bool
    """Whether the worker holds a GPU that torch cannot use."""
    versions: str
    """What the worker computes with, in words."""


class TaskProgress(NamedTuple):
    """The last report of a running task."""

    title: str = ""
    done: int = 0
    total: int = 0
    notice: str = ""
    """What the worker waits for."""
    share: float = 0.0
    """The share of a shard that is done."""


class RemoteWorker:
    """A worker in an actor. The driver polls its progress while it runs a task.

    Parameters
    ----------
    data
        A list of one reference to the data set. Ray brings the object to each node once.
    """

    def __init__(self, setup: Setup, name: str, data: Sequence[Any]) -> None:
        self._name, self._progress = name, TaskProgress()
        self._victims: dict[str, Any] = {}
        self._meter = WorkerMeter(name)
        self._worker = Worker(
            setup,
            name=name,
            report=self._report,
            advance=self._advance,
            notice=self._notice,
            load_data=lambda: ray.get(data[0]),
            read_victim=lambda digest: ray.get(self._victims[digest]),
        )

    def __repr__(self) -> str:
        return self._name

    def _report(self, title: str, done: int, total: int) -> None:
        self._progress = TaskProgress(title, done, total)

    def _advance(self, share: float) -> None:
        self._progress = self._progress._replace(share=share)

    def _notice(self, text: str) -> None:
        self._progress = self._progress._replace(notice=text)

    def report_ready(self, markers: Sequence[Path]) -> ReadyReport:
        """Report that the worker is ready, and whether it sees the files that the driver has just written."""
        unseen = next((str(marker.parent) for marker in markers if not marker.exists()), None)
        unusable = bool(ray.get_gpu_ids()) and self._worker.device == "cpu"
        return ReadyReport(node=socket.gethostname(), unseen_folder=unseen, unusable_gpu=unusable, versions=versions())

    def do(self, task: Task, victims: Mapping[str, Any]) -> ShardRecord | None:
        """Run a task. `victims` has a reference to the victim that it needs, by digest."""
        self._victims, self._progress = dict(victims), TaskProgress()
        record = self._worker.do(task)
        if record is not None:
            self._meter.count(record)
        return record

    @ray.method(concurrency_group="progress")
    def progress(self) -> TaskProgress:
        """Return what the running task reported last."""
        return self._progress


REMOTE: Any = ray.remote(concurrency_groups={"progress": 1})(RemoteWorker)  # type: ignore[call-overload]
