"""What the harness costs beside its attacks: how busy many workers are, the driver's memory, and its share of the time.

    uv run python benchmarks/scaling.py [busy] [memory] [cost] [--workers 64] [--seconds 60] [--shards 100000]

busy
    Shards that sleep for a second, on workers of a GPU (in name only) each, over four nodes on this machine. The
    attack itself notes when it begins and ends, so all else counts as not busy: gathering images, committing rows,
    and waiting for the next shard. A worker takes about 0.4 GiB of memory, or of swap, as most of it is never used;
    `RAY_memory_monitor_refresh_ms=0` keeps Ray from counting that as lack of memory.
memory
    The driver's resident memory over a sweep whose shards do nothing, on two workers.
cost
    The same shards by two workers, and by two bare processes that call the attacks and drop what they return; each
    has done a shard before it is timed, and no Ray runs while the bare ones do. The median of three.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not this file's folder, where `attacks` would be another

from benchmarks import bare  # noqa: E402
from benchmarks.nodes import Nodes  # noqa: E402
from benchmarks.prepared import Prepared  # noqa: E402
from eadbench.harness import datasets  # noqa: E402
from eadbench.harness.execution.executor import Executor, Outcome  # noqa: E402
from eadbench.harness.execution.progress import Progress  # noqa: E402
from eadbench.harness.execution.ray import RayExecutor  # noqa: E402
from eadbench.harness.execution.sweep import run as run_sweep  # noqa: E402
from eadbench.harness.plan import grid  # noqa: E402
from eadbench.harness.plan.grid import Shard  # noqa: E402
from eadbench.harness.plan.tasks import Setup  # noqa: E402
from eadbench.harness.results.folder import Results  # noqa: E402
from eadbench.harness.spec import schema as spec  # noqa: E402
from eadbench.harness.spec.schema import Spec  # noqa: E402

Line = tuple[str, str, str]
"""What was measured, the figure, and what it must be."""

NODES = 4
SETTLED = 5.0
"""Seconds after the last worker's start at which the steady state begins."""


class Watch(Progress):
    """Knows how many workers there are, and measures this process's memory every so many shards."""

    def __init__(self, every: int = 0) -> None:
        super().__init__(Console(quiet=True))
        self.every, self.workers, self.shards = every, 0, 0
        self.resident: list[tuple[int, float, float]] = []

    def staffed(self, workers: int) -> None:
        self.workers = workers

    def ended(self, outcome: Outcome, size: int) -> None:
        self.shards += 1
        if self.every and self.shards % self.every == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.resident.append((self.shards, pages * os.sysconf("SC_PAGE_SIZE") / 2**20, time.monotonic()))
        super().ended(outcome, size)


def sweep_of(attack: dict[str, Any], **changes: Any) -> Spec:
    """A sweep of one attack on the digits."""
    training = {"epochs": 15, "batch_size": 32, "learning_rate": 3e-3}
    victim = {"arch": "digits", "training": training}
    return spec.parse(
        {"name": "scaling", "dataset": {"name": "digits"}, "victims": [victim], "attacks": [attack], **changes}
    )


class Measured(Prepared):
    """A sweep whose victim is ready, and how it is watched."""

    def __init__(self, what: Spec, folder: Path) -> None:
        super().__init__(what, folder, threads=1)
        self.watch = Watch()

    def shards(self) -> Iterator[Shard]:
        return grid.shards(self.what, self.data.identity, self.data.classes, self.victims)

    def workers(self, address: str | None) -> RayExecutor:
        return RayExecutor(self.setup, self.data, self.watch, address=address, spec=self.what)


def busy(workers: int, seconds: float, folder: Path) -> Iterator[Line]:
    """The share of a steady state's time that workers spend in shards of a second."""
    notes = folder / "notes"
    notes.mkdir()
    attack = {"name": "benchmarks.sleep:Sleep", "seconds": 1, "place": str(notes), "kappa": [*range(50)]}
    what = sweep_of(
        attack, images={"count": 300}, shard_size=1, resources={"workers": workers, "gpus": 1, "cpus": 0.05}
    )
    prepared = Measured(what, folder / "results")
    each = -(-workers // NODES)
    with Nodes(NODES, cpus=-(-each // 20), gpus=each) as nodes, prepared.workers(nodes.address) as executor:
        begin = float("inf")
        for _ in executor.run(prepared.shards()):
            if begin == float("inf") and prepared.watch.workers == workers:
                begin = time.time() + SETTLED
            if time.time() > begin + seconds:
                break
    spans = [[float(clock) for clock in line.split()] for file in notes.iterdir() for line in file.open()]
    within = [min(end, begin + seconds) - max(start, begin) for start, end in spans]
    spent = [span for span in within if span > 0]
    share = sum(spent) / seconds / workers
    title = f"busy in attacks of 1 s: {workers} workers on {NODES} nodes, {seconds:.0f} s, {len(spent):,} shards"
    yield title, f"{share:.1%}", "≥ 95 %"
    yield "  between two attacks of a worker", f"{1000 * (1 / share - 1):.0f} ms", ""


def memory(shards: int, folder: Path) -> Iterator[Line]:
    """The driver's memory as a sweep goes on."""
    per_kappa = 300 * 9 // 3
    attack = {"name": "benchmarks.sleep:Sleep", "kappa": [*range(-(-shards // per_kappa))]}
    what = sweep_of(attack, images={"count": 300}, shard_size=3, resources={"workers": 2})
    watch = Watch(every=shards // 10)

    def workers(setup: Setup, data: datasets.DataSet, _: Progress) -> Executor:
        return RayExecutor(setup, data, watch, address=None, spec=what)

    run_sweep(what, Results(folder / "results"), workers, watch)
    for done, resident, _ in watch.resident:
        yield f"driver's resident memory after {done:,} shards", f"{resident:.1f} MiB", ""
    (first, before, start), (last, after, end) = watch.resident[1], watch.resident[-1]
    slope = 2**20 * (after - before) / (last - first)
    yield (
        f"  growth from {first:,} to {last:,}, at {(last - first) / (end - start):.0f} shards/s",
        f"{slope:.0f} B/shard",
        "flat",
    )


def by_workers(prepared: Measured, shards: list[Shard]) -> float:
    """Seconds of the shards by two workers."""
    with prepared.workers(None) as executor:
        warm: set[str] = set()
        while len(warm) < 2:
            warm |= {outcome.workers[-1] for outcome in executor.run(shards[:4])}
        clock = time.perf_counter()
        for outcome in executor.run(shards):
            assert outcome.tally, outcome.error
        return time.perf_counter() - clock


def cost(folder: Path) -> Iterator[Line]:
    """Seconds of a sweep by two workers over those of the bare attacks in two processes."""
    attack = {"name": "ead", "beta": [1e-3, 1e-2], "max_iterations": 300}
    what = sweep_of(attack, images={"count": 60}, shard_size=45, resources={"workers": 2})
    prepared = Measured(what, folder / "results")
    shards = [*prepared.shards()]
    folder = prepared.results.root
    measured = [(bare.seconds_of(shards, folder, what), by_workers(prepared, shards)) for _ in range(3)]
    medians = [statistics.median(seconds) for seconds in zip(*measured, strict=True)]
    for name, median, seconds in zip(("bare processes", "workers"), medians, zip(*measured, strict=True), strict=True):
        times = ", ".join(f"{each:.1f}" for each in seconds)
        yield f"{len(shards)} shards of EAD, two {name}: {times}", f"{median:.1f} s", ""
    yield "  the harness over the bare attacks", f"{medians[1] / medians[0]:.3f}", "≤ 1.05"


def main() -> None:
    """Measure what is asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", default=["busy", "memory", "cost"], metavar="busy|memory|cost")
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--shards", type=int, default=100_000)
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    sections: dict[str, Callable[[Path], Iterator[Line]]] = {
        "busy": partial(busy, given.workers, given.seconds),
        "memory": partial(memory, given.shards),
        "cost": cost,
    }
    print("| measure | figure | must be |\n| --- | ---: | ---: |", flush=True)
    for name in given.only:
        with tempfile.TemporaryDirectory(prefix="scaling") as folder:
            print(f"| load before {name} | {os.getloadavg()[0]:.1f} | idle |", flush=True)
            for line in sections[name](Path(folder)):
                print("|", " | ".join(line), "|", flush=True)


if __name__ == "__main__":
    main()
