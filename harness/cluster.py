"""Workers as actors on a Ray cluster: the one place that imports ray.

Each actor holds one GPU where the cluster has any, else as many CPU cores as torch has threads. A task whose actor
dies goes to a new actor, and is given up after :data:`ATTEMPTS`.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # a local cluster listens on loopback only
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray.exceptions import RayActorError, RayTaskError

from harness.errors import EnvironmentFault, UserError
from harness.executor import Outcome
from harness.tasks import Setup, Tally, Task
from harness.worker import Report, Worker

ATTEMPTS = 3
"""How many workers a task may take down with it."""

PACKAGES = ("attacks", "defenses", "harness", "models")
"""What a cluster's workers need of this project."""

LOOK_EVERY = 0.5
"""Seconds between two looks at what workers report of the tasks that they run."""


class RemoteWorker:
    """A worker in an actor; its `report` is polled while it works."""

    def __init__(self, setup: Setup, name: str) -> None:
        self._last: tuple[str, int, int] | None = None
        self._worker = Worker(setup, name=name, report=self._remember)

    def _remember(self, title: str, done: int, total: int) -> None:
        self._last = (title, done, total)

    def do(self, task: Task) -> Tally:
        """Do a task."""
        return self._worker.do(task)

    @ray.method(concurrency_group="watch")
    def last(self) -> tuple[str, int, int] | None:
        """What the running task last reported."""
        return self._last


class _Actor(NamedTuple):
    handle: Any
    name: str


class RayExecutor:
    """As many workers as are asked for, or as the cluster has room for.

    Parameters
    ----------
    address : str or None
        Of a running cluster ("auto" finds one on this machine); None starts one here, for as long as this lives.
    workers : int or None
        How many; None for as many as fit.

    Raises
    ------
    UserError
        On entry: the workers asked for do not fit.
    EnvironmentFault
        On entry: the cluster does not answer.
    """

    def __init__(self, setup: Setup, report: Report, *, address: str | None, workers: int | None) -> None:
        self._setup, self._report, self._address, self._asked = setup, report, address, workers
        self._idle: deque[_Actor] = deque()
        self._started = 0

    def __enter__(self) -> Self:
        _connect(self._address)
        try:
            self._options = _options(self._setup.threads)
            for _ in range(_how_many(self._asked, self._options)):
                self._idle.append(self._new_actor())
        except BaseException:
            ray.shutdown()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ray.shutdown()

    def workers(self) -> int:
        """How many actors there are, while none runs a task."""
        return len(self._idle)

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Keep every actor busy, with one task at a time."""
        waiting = ((task, 1) for task in tasks)
        again: deque[tuple[Task, int]] = deque()
        running: dict[Any, tuple[_Actor, Task, int]] = {}
        while True:
            while self._idle and (item := again.popleft() if again else next(waiting, None)):
                actor = self._idle.popleft()
                running[actor.handle.do.remote(item[0])] = (actor, *item)
            if not running:
                return
            ended, _ = ray.wait(list(running), timeout=LOOK_EVERY)
            if not ended:
                self._look([actor for actor, _, _ in running.values()])
            for reference in ended:
                actor, task, attempt = running.pop(reference)
                tally, error = None, None
                try:
                    tally = ray.get(reference)
                except RayTaskError as fault:
                    error = str(fault)
                except RayActorError as fault:
                    actor = self._new_actor()
                    if attempt < ATTEMPTS:
                        self._idle.append(actor)
                        again.append((task, attempt + 1))
                        continue
                    error = f"it took {ATTEMPTS} workers down: {fault}"
                self._idle.append(actor)
                yield Outcome(task=task, worker=actor.name, tally=tally, error=error)

    def _look(self, actors: Sequence[_Actor]) -> None:
        """Pass on what running tasks report; an actor that does not answer at once is asked the next time."""
        asked = [actor.handle.last.remote() for actor in actors]
        answered, _ = ray.wait(asked, num_returns=len(asked), timeout=LOOK_EVERY)
        for reference in answered:
            try:
                last = ray.get(reference)
            except RayActorError:  # the task that it runs says so too
                continue
            if last:
                self._report(*last)

    def _new_actor(self) -> _Actor:
        self._started += 1
        name = f"worker-{self._started}"
        return _Actor(_REMOTE.options(**self._options).remote(self._setup, name), name)


_REMOTE: Any = ray.remote(concurrency_groups={"watch": 1})(RemoteWorker)  # type: ignore[call-overload]


def _connect(address: str | None) -> None:
    """Join the cluster at `address`, which is sent the code; or start one here, of this machine's cores and GPUs."""
    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if address is None:
        ray.init("local", num_cpus=len(os.sched_getaffinity(0)), include_dashboard=False, **quiet)
        return
    root = Path(__file__).parents[1]
    try:
        ray.init(address, runtime_env={"py_modules": [str(root / package) for package in PACKAGES]}, **quiet)
    except (ConnectionError, TimeoutError, RuntimeError, ValueError) as fault:
        raise EnvironmentFault(
            f"--address {address}: no Ray cluster answers there ({fault}); "
            "where Ray asks for a token, set RAY_AUTH_MODE=token"
        ) from fault


def _options(threads: int) -> dict[str, Any]:
    """What an actor asks of the cluster: a GPU where there are any, else a core for each of torch's threads."""
    if _resources().get("GPU", 0) >= 1:
        return {"num_gpus": 1, "num_cpus": 1}
    environment = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    return {"num_gpus": 0, "num_cpus": threads, "runtime_env": {"env_vars": environment}}


def _how_many(asked: int | None, options: Mapping[str, Any]) -> int:
    """The number of actors: what was asked for if it fits, else as many as fit."""
    kind, each = ("GPU", options["num_gpus"]) if options["num_gpus"] else ("CPU", options["num_cpus"])
    there = _resources().get(kind, 0)
    fit = int(there // each)
    if (asked or 1) > fit:
        raise UserError(
            f"resources: {asked or 1} workers of {each} {kind} each do not fit on this cluster's {there:g} {kind}; "
            + ("ask for fewer workers" if fit else "set resources.threads lower")
        )
    return asked or fit


def _resources() -> dict[str, float]:
    """What the cluster's nodes have, by kind."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return resources
