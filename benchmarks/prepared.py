"""A sweep whose victims are ready, for measurements of its attacks."""

from pathlib import Path

from rich.console import Console

from eadbench.harness import datasets
from eadbench.harness.execution.progress import Progress
from eadbench.harness.execution.runner import Runner
from eadbench.harness.execution.serial import SerialExecutor
from eadbench.harness.execution.victims import VictimPlanner
from eadbench.harness.plan.tasks import Setup
from eadbench.harness.results.folder import Results
from eadbench.harness.spec import Spec


class Prepared:
    """The data and the victims of a sweep. Victims that are missing in the folder are made in this process.

    Attributes
    ----------
    setup, results, data
        The arguments of the sweep's workers.
    victims
        The victims, with the images drawn for each.
    """

    def __init__(self, spec: Spec, folder: Path, *, threads: int) -> None:
        self.spec, self.results = spec, Results(folder)
        self.data = datasets.load(spec.dataset.name, **spec.dataset.parameters)
        self.setup = Setup(results=folder.absolute(), models=None, batch_size=128, threads=threads)
        planner = VictimPlanner(spec, self.data, self.results)
        with (
            Progress(Console(stderr=True)) as progress,
            Runner(self.setup, self.data, self.results, SerialExecutor, progress) as runner,
        ):
            runner.make_victims(planner)
        self.victims = planner.victims()
