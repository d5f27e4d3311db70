"""What runs in an actor: a worker, fed from Ray's object store."""

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ray

from eadbench.harness.execution.ray.metrics import WorkerMeter
from eadbench.harness.execution.worker import Worker
from eadbench.harness.plan.tasks import Setup, Tally, Task


class Hello(NamedTuple):
    """What a worker says when it is ready."""

    node: str
    unseen: str | None
    """A folder that it should see and does not."""
    idle_gpu: bool
    """Whether it holds a GPU that torch cannot use."""


class RemoteWorker:
    """A worker in an actor; what its task reports is polled while it works.

    Parameters
    ----------
    data
        The data set, as a list of one reference: an object that Ray brings to each node once.
    """

    def __init__(self, setup: Setup, name: str, data: Sequence[Any]) -> None:
        self._name, self._last = name, ("", 0, 0)
        self._models: dict[str, Any] = {}
        self._meter = WorkerMeter(name)
        self._worker = Worker(
            setup,
            name=name,
            report=self._remember,
            data=lambda: ray.get(data[0]),
            stored=lambda digest: ray.get(self._models[digest]),
        )

    def __repr__(self) -> str:
        return self._name

    def _remember(self, title: str, done: int, total: int) -> None:
        self._last = (title, done, total)

    def hello(self, marks: Sequence[Path]) -> Hello:
        """Say that it is ready, and whether it sees the files that the driver has just written."""
        unseen = next((str(mark.parent) for mark in marks if not mark.exists()), None)
        idle_gpu = bool(ray.get_gpu_ids()) and self._worker.device == "cpu"
        return Hello(node=socket.gethostname(), unseen=unseen, idle_gpu=idle_gpu)

    def do(self, task: Task, models: Mapping[str, Any]) -> Tally:
        """Do a task; `models` has references to the victims that it takes, by their digests."""
        self._models = dict(models)
        tally = self._worker.do(task)
        self._meter.count(task, tally)
        return tally

    @ray.method(concurrency_group="watch")
    def last(self) -> tuple[str, int, int]:
        """What the running task last reported: what it does, how much of it, of how much."""
        return self._last


REMOTE: Any = ray.remote(concurrency_groups={"watch": 1})(RemoteWorker)  # type: ignore[call-overload]
