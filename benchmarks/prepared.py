"""A sweep whose victims are ready, for what is measured of its attacks."""

from pathlib import Path

from rich.console import Console

from eadbench.harness import datasets
from eadbench.harness.execution.executor import SerialExecutor
from eadbench.harness.execution.progress import Progress
from eadbench.harness.plan import recipes as victims
from eadbench.harness.plan.tasks import Setup
from eadbench.harness.results.folder import Results
from eadbench.harness.spec.schema import Spec


class Prepared:
    """The data and the victims of a sweep; those that its folder lacks are made, in this process.

    Attributes
    ----------
    setup, results, data
        As its workers have them.
    victims
        With the images drawn for each.
    """

    def __init__(self, what: Spec, folder: Path, *, threads: int) -> None:
        self.what, self.results, self.data = what, Results(folder), datasets.load(**what.dataset)
        self.setup = Setup(
            results=folder.absolute(), models=None, batch_size=128, threads=threads, precision=what.precision
        )
        entries = victims.planned(what, self.data)
        with Progress(Console(stderr=True)) as progress, SerialExecutor(self.setup, self.data, progress) as executor:
            while tasks := victims.next_tasks(entries, what, self.data, self.results):
                for outcome in executor.run(tasks):
                    if outcome.error:
                        raise RuntimeError(outcome.error)
        self.victims = victims.ready(entries, what, self.data, self.results)
