"""A tiny sweep, to be disturbed and compared with an undisturbed one."""

import shutil
import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.points import Driver, Point, start

__all__ = ["SPEC", "Prepared", "Sweep", "chosen"]

SPEC = """
name: tiny
dataset: {name: digits}
images: {count: 2}
victims:
  - {arch: digits, training: {epochs: 2, batch_size: 32, learning_rate: 5e-3}, evaluated_on: all}
  - {arch: digits, training: {epochs: 2, batch_size: 32, learning_rate: 5e-3, seed: 1}, attacked: false}
attacks:
  - {name: ead, beta: 1e-2, initial_const: 1, binary_search_steps: 2, max_iterations: 20}
shard_size: 9
batch_size: 16
"""
"""Two victims, two shards, and two transfers."""
STAGES = {
    "report/": Point(name="report/table.csv"),
    "invocations/": Point(name="report/table.csv"),
    "mlflow ": Point(name="invocations/*/report.html"),
}
"""The point at which a driver was killed before the runs of a stage start, by how the names of its points begin."""


class Sweep:
    """A sweep in a folder, which can be put back to how it was."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.results = folder, folder / "results"
        folder.mkdir(parents=True)
        (folder / "spec.yaml").write_text(SPEC)

    def start(self, *words: object, **options: object) -> Driver:
        """Start a driver; see :func:`benchmarks.points.start`."""
        command = ("run", "spec.yaml", "--executor", "serial", "--results", "results", *words)
        return start(*command, folder=self.folder, **options)  # type: ignore[arg-type]

    def end(self, *, code: int = 0, **options: object) -> None:
        """Run a driver to its end.

        Raises
        ------
        RuntimeError
            It ends with another exit code.
        """
        driver = self.start(**options)
        if (ended := driver.wait()) != code:
            raise RuntimeError(f"a driver ended with {ended}, not {code} {options}: {driver.log.read_text()}")

    def copy(self, folder: Path) -> Path:
        """Copy everything to another folder, and return it."""
        shutil.copytree(self.folder, folder)
        return folder

    def put_back(self, copy: Path) -> None:
        """Put everything back as it was when it was copied."""
        shutil.rmtree(self.folder)
        shutil.copytree(copy, self.folder)


class Prepared:
    """A tiny sweep, what an undisturbed driver leaves of it, and copies from which the drivers of late points start.

    Attributes
    ----------
    new, reference
        Copies of the folder: before a run, and after an undisturbed one, which took some `seconds`.
    points
        The points of that run.
    """

    def __init__(self, folder: Path) -> None:
        self.sweep = Sweep(folder / "work")
        self.new = self.sweep.copy(folder / "new")
        started = time.monotonic()
        self.sweep.end()
        self.seconds = time.monotonic() - started
        self.points = chosen((self.sweep.folder / "points").read_text().splitlines())
        self.reference = self.sweep.copy(folder / "reference")
        self._copies: dict[Point, Path] = {}
        self.sweep.put_back(self.new)
        for point in dict.fromkeys(STAGES.values()):
            self.sweep.end(point=point, code=-signal.SIGKILL)
            self._copies[point] = self.sweep.copy(folder / f"stage-{len(self._copies)}")

    def go_to(self, point: Point) -> None:
        """Put the sweep back to how it was before the stage of a point."""
        stage = next((before for start, before in STAGES.items() if point.name.startswith(start)), None)
        self.sweep.put_back(self.new if stage is None else self._copies[stage])


def chosen(names: Sequence[str]) -> list[Point]:
    """Return the first and the last point of each name, in the order of a run."""
    counts, points = Counter[str](), list[Point]()
    for index, name in enumerate(names):
        counts[name] += 1
        last = name not in names[index + 1 :] and name != "owner.json"  # a clock writes it again and again
        if counts[name] == 1 or last:
            points.append(Point(name=name, number=counts[name]))
    return points
