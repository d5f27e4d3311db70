"""The points of a run: before each file that it puts in place, and after each write to MLflow.

A driver can stop at one, by a signal that it sends itself. The shipped code has no hook for this: the driver's process
replaces `os.replace`, and the methods of MLflow's client, before it runs the command.
"""

import multiprocessing
import os
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

__all__ = ["Driver", "Point", "forks", "start"]

PRELOADED = (
    *("eadbench.harness.cli", "eadbench.harness.api", "eadbench.dashboards.page", "sklearn.datasets"),
    *("eadbench.harness.execution.sweep", "eadbench.harness.execution.serial", "eadbench.harness.tracking.invocation"),
    *("mlflow", "mlflow.store.tracking.sqlalchemy_store", "s3fs"),
)
"""Imported once, by the process from which drivers are forked."""
WRITES = ("create_", "finalize_", "log_", "set_")
"""How the names of the methods begin by which MLflow's client writes."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point of a run."""

    name: str
    """The file, with digests as `*`; or `mlflow` and a method. See :func:`named`."""
    number: int = 1
    """How often this driver has come by a point of this name, this time included."""

    def __str__(self) -> str:
        return f"{self.name}, {self.number}"


@dataclass(frozen=True, kw_only=True)
class Driver:
    """A process of `eadbench`."""

    process: BaseProcess
    log: Path

    def wait(self) -> int:
        """Return its exit code, once it has ended; minus the number of the signal that ended it."""
        self.process.join()
        code = self.process.exitcode
        assert code is not None
        return code

    def stop_reached(self) -> bool:
        """Return whether a SIGSTOP has stopped it."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0] == "T"

    def go_on(self) -> None:
        """Continue it after a SIGSTOP."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGCONT)


def start(
    *words: object,
    folder: Path,
    log: str = "driver.log",
    point: Point | None = None,
    stop: signal.Signals = signal.SIGKILL,
    after: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> Driver:
    """Start `eadbench` in a folder, in a process forked from one that has imported everything.

    Parameters
    ----------
    words
        The command and its arguments.
    log
        The file in the folder for its output.
    point, after
        Where it stops, or after how many seconds; it writes the points that it comes by to `FOLDER/points`.
    stop
        The signal that it stops by.
    """
    file = folder / log
    arguments = (folder, file, [*map(str, words)], dict(environment or {}), point, stop, after)
    process = forks().Process(target=_run, args=arguments)
    process.start()
    return Driver(process=process, log=file)


def forks() -> ForkServerContext:
    """Return the context whose processes are forked from one that has imported everything."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a thread, in the process to fork from
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED])
    return context


def _run(
    folder: Path,
    log: Path,
    words: list[str],
    environment: Mapping[str, str],
    point: Point | None,
    stop: signal.Signals,
    after: float | None,
) -> None:
    """Run the command in this process."""
    os.chdir(folder)
    tracking = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    os.environ.update({"COLUMNS": "1000", "PYTHONWARNINGS": "ignore", **tracking, **environment})
    with log.open("w") as output:
        for descriptor in (1, 2):
            os.dup2(output.fileno(), descriptor)
    counts, trace = Counter[str](), (folder / "points").open("a", buffering=1)

    def reached(name: str) -> None:
        counts[name] += 1
        trace.write(f"{name}\n")
        if point == Point(name=name, number=counts[name]):
            os.kill(os.getpid(), stop)

    _watch(folder / "results", reached)
    if after is not None:
        timer = threading.Timer(after, lambda: os.kill(os.getpid(), stop))
        timer.daemon = True
        timer.start()
    from eadbench.harness import cli

    sys.argv = ["eadbench", *words]
    cli.main()


def _watch(results: Path, reached: Callable[[str], None]) -> None:
    """Call `reached` with the name of each point of this process."""
    from mlflow import MlflowClient

    replace = os.replace

    @wraps(replace)
    def replaced(source: Any, target: Any, **options: Any) -> None:
        path = Path(target).absolute()
        if path.is_relative_to(results):
            reached(named(path.relative_to(results)))
        replace(source, target, **options)

    os.replace = replaced
    for name, method in list(vars(MlflowClient).items()):
        if name.startswith(WRITES):
            setattr(MlflowClient, name, _followed(method, lambda name=name: reached(f"mlflow {name}")))


def _followed(method: Callable[..., Any], follow: Callable[[], None]) -> Callable[..., Any]:
    """Return a method that calls `follow` before it returns."""

    @wraps(method)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        value = method(*arguments, **options)
        follow()
        return value

    return wrapper


def named(path: Path) -> str:
    """Return the path of a file with digests and ids as `*`: ``examples/*-*.parquet``."""
    return re.sub(r"\d{8}-\d{6}-[0-9a-f]{8}|\b[0-9a-f]{16}\b", "*", path.as_posix())
