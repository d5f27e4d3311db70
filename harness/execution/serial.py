"""The executor of one process: no cluster, the same rows."""

import time
import traceback
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from eadbench.harness.datasets import DataSet
from eadbench.harness.errors import DamagedResults, EnvironmentFault, UserError
from eadbench.harness.execution.executor import AnyTask, Observer, Outcome
from eadbench.harness.execution.worker import Worker
from eadbench.harness.plan.tasks import Setup, Task
from eadbench.harness.results.model_files import read_model
from eadbench.models import Stored

__all__ = ["SerialExecutor"]


class SerialExecutor:
    """Run tasks one after another, by one worker in this process."""

    def __init__(self, setup: Setup, data: DataSet, observer: Observer) -> None:
        self._observer = observer
        self._task: Task | None = None
        """What the worker runs, since `_started`."""
        self._started = 0.0

        def read_victim(digest: str) -> Stored:
            return read_model(self._worker.results.model(digest))

        self._worker = Worker(
            setup,
            name="here",
            report=observer.report,
            advance=self._advance,
            notice=observer.notice,
            load_data=lambda: data,
            read_victim=read_victim,
        )

    def _advance(self, share: float) -> None:
        assert self._task is not None
        self._observer.advanced(self._task, share, time.monotonic() - self._started)

    def __enter__(self) -> Self:
        self._observer.workers_ready(1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def run(self, tasks: Iterable[AnyTask]) -> Iterator[Outcome[AnyTask]]:
        """Run the tasks in their order."""
        workers = [self._worker.name]
        for task in tasks:
            self._task, self._started = task, time.monotonic()
            try:
                record = self._worker.do(task)
            except (DamagedResults, EnvironmentFault, UserError):  # no other task or worker would fare better
                raise
            except Exception:  # record any failure of a task and go on with the sweep
                yield Outcome(task=task, workers=workers, error=traceback.format_exc())
            else:
                yield Outcome(task=task, workers=workers, record=record)
