"""Measure the overhead of the harness: the idle time of many workers, the driver's memory, and the cost per shard.

    uv run python benchmarks/scaling.py [busy] [memory] [cost] [--workers 64] [--seconds 60] [--shards 100000]

busy
    Shards that sleep for a second, on workers with a pretended GPU each, over four nodes on this machine. The attack
    logs its start and end, so everything else counts as idle: gathering images, committing rows, waiting for the next
    shard. A worker takes about 0.4 GiB of memory, or of swap, because most of it is never used. Set
    `RAY_memory_monitor_refresh_ms=0`, so that Ray does not take this for a lack of memory.
memory
    The driver's resident memory during a sweep of empty shards, on two workers.
cost
    The same shards on two workers, and in two bare processes that call the attacks and drop the results. Both warm up
    first, and Ray does not run beside the bare processes. The figures are medians of three runs.
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
from typing import Any, NamedTuple

import torch
from rich.console import Console

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # in place of this folder, to import `benchmarks`

from benchmarks import bare  # noqa: E402
from benchmarks.nodes import Nodes  # noqa: E402
from benchmarks.prepared import Prepared  # noqa: E402
from eadbench.harness import datasets, spec  # noqa: E402
from eadbench.harness.execution.executor import Executor, Outcome  # noqa: E402
from eadbench.harness.execution.progress import Progress  # noqa: E402
from eadbench.harness.execution.ray import RayExecutor  # noqa: E402
from eadbench.harness.execution.sweep import run as run_sweep  # noqa: E402
from eadbench.harness.plan import grid  # noqa: E402
from eadbench.harness.plan.grid import Shard  # noqa: E402
from eadbench.harness.plan.tasks import Setup, Task  # noqa: E402
from eadbench.harness.results.folder import Results  # noqa: E402
from eadbench.harness.spec import Spec  # noqa: E402

Line = tuple[str, str, str]
"""The measure, its figure, and the bound that the figure must keep."""

NODES = 4
WARM_UP = 5.0
"""Seconds from the last worker's start to the steady state."""


class MemorySample(NamedTuple):
    """The driver's resident memory after some shards."""

    shards: int
    mebibytes: float
    clock: float
    """Monotonic seconds."""


class Monitor(Progress):
    """Counts the workers, and samples this process's memory every `interval` shards (0: never)."""

    def __init__(self, interval: int = 0) -> None:
        super().__init__(Console(quiet=True))
        self.interval, self.workers, self.shards = interval, 0, 0
        self.samples: list[MemorySample] = []

    def workers_ready(self, count: int) -> None:
        self.workers = count
        super().workers_ready(count)

    def ended(self, outcome: Outcome[Task]) -> None:
        self.shards += 1
        if self.interval and self.shards % self.interval == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            mebibytes = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
            self.samples.append(MemorySample(self.shards, mebibytes, time.monotonic()))
        super().ended(outcome)


def sweep_of(attack: dict[str, Any], **changes: Any) -> Spec:
    """Return a sweep of one attack on the digits."""
    training = {"epochs": 15, "batch_size": 32, "learning_rate": 3e-3}
    victim = {"arch": "digits", "training": training}
    return spec.parse(
        {"name": "scaling", "dataset": {"name": "digits"}, "victims": [victim], "attacks": [attack], **changes}
    )


class Monitored(Prepared):
    """A sweep whose victim is ready, with a monitor of its workers."""

    def __init__(self, spec: Spec, folder: Path) -> None:
        super().__init__(spec, folder, threads=1)
        self.monitor = Monitor()

    def shards(self) -> Iterator[Shard]:
        """Yield the shards of the sweep."""
        return grid.shards(self.spec, self.data.identity, self.data.target_classes, self.victims)

    def executor(self, address: str | None) -> RayExecutor:
        """Return workers on the cluster at `address`; None starts a cluster."""
        return RayExecutor(self.setup, self.data, self.monitor, address=address, spec=self.spec)


def busy(workers: int, seconds: float, folder: Path) -> Iterator[Line]:
    """Measure the share of the steady state that workers spend in attacks of a second."""
    logs = folder / "logs"
    logs.mkdir()
    attack = {"name": "benchmarks.sleep:Sleep", "seconds": 1, "log_folder": str(logs), "kappa": [*range(50)]}
    sweep = sweep_of(
        attack, images={"count": 300}, shard_size=1, resources={"workers": workers, "gpus": 1, "cpus": 0.05}
    )
    prepared = Monitored(sweep, folder / "results")
    per_node = -(-workers // NODES)
    with Nodes(NODES, cpus=-(-per_node // 20), gpus=per_node) as nodes, prepared.executor(nodes.address) as executor:
        begin = float("inf")
        for _ in executor.run(prepared.shards()):
            if begin == float("inf") and prepared.monitor.workers == workers:
                begin = time.time() + WARM_UP
            if time.time() > begin + seconds:
                break
    spans = [[float(clock) for clock in line.split()] for file in logs.iterdir() for line in file.open()]
    overlaps = [min(end, begin + seconds) - max(start, begin) for start, end in spans]
    busy_spans = [overlap for overlap in overlaps if overlap > 0]
    share = sum(busy_spans) / seconds / workers
    title = f"busy in attacks of 1 s: {workers} workers on {NODES} nodes, {seconds:.0f} s, {len(busy_spans):,} shards"
    yield title, f"{share:.1%}", "≥ 95 %"
    yield "  between two attacks of a worker", f"{1000 * (1 / share - 1):.0f} ms", ""


def memory(shards: int, folder: Path) -> Iterator[Line]:
    """Measure the driver's memory during a sweep."""
    shards_per_kappa = 300 * 9 // 3
    attack = {"name": "benchmarks.sleep:Sleep", "kappa": [*range(-(-shards // shards_per_kappa))]}
    sweep = sweep_of(attack, images={"count": 300}, shard_size=3, resources={"workers": 2})
    monitor = Monitor(interval=shards // 10)

    def executor(setup: Setup, data: datasets.DataSet, _: Progress) -> Executor:
        return RayExecutor(setup, data, monitor, address=None, spec=sweep)

    run_sweep(sweep, Results(folder / "results"), executor, monitor)
    for sample in monitor.samples:
        yield f"driver's resident memory after {sample.shards:,} shards", f"{sample.mebibytes:.1f} MiB", ""
    first, last = monitor.samples[1], monitor.samples[-1]
    count = last.shards - first.shards
    slope = 2**20 * (last.mebibytes - first.mebibytes) / count
    yield (
        f"  growth from {first.shards:,} to {last.shards:,}, at {count / (last.clock - first.clock):.0f} shards/s",
        f"{slope:.0f} B/shard",
        "flat",
    )


def measure_workers(prepared: Monitored, shards: list[Shard]) -> float:
    """Return the seconds that two warm workers take for the shards."""
    with prepared.executor(None) as executor:
        warm: set[str] = set()
        while len(warm) < 2:
            warm |= {outcome.workers[-1] for outcome in executor.run(shards[:4])}
        started = time.perf_counter()
        for outcome in executor.run(shards):
            assert outcome.record, outcome.error
        return time.perf_counter() - started


def cost(folder: Path) -> Iterator[Line]:
    """Compare a sweep on two workers with the bare attacks in two processes."""
    attack = {"name": "ead", "beta": [1e-3, 1e-2], "max_iterations": 300}
    sweep = sweep_of(attack, images={"count": 60}, shard_size=45, resources={"workers": 2})
    prepared = Monitored(sweep, folder / "results")
    shards = [*prepared.shards()]
    folder = prepared.results.root
    runs = [(bare.measure(shards, folder, sweep), measure_workers(prepared, shards)) for _ in range(3)]
    medians = []
    for name, seconds in zip(("bare processes", "workers"), zip(*runs, strict=True), strict=True):
        medians.append(statistics.median(seconds))
        times = ", ".join(f"{time_of_run:.1f}" for time_of_run in seconds)
        yield f"{len(shards)} shards of EAD, two {name}: {times}", f"{medians[-1]:.1f} s", ""
    yield "  the harness over the bare attacks", f"{medians[1] / medians[0]:.3f}", "≤ 1.05"


def main() -> None:
    """Measure the chosen sections, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", default=["busy", "memory", "cost"], metavar="busy|memory|cost")
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--shards", type=int, default=100_000)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    sections: dict[str, Callable[[Path], Iterator[Line]]] = {
        "busy": partial(busy, arguments.workers, arguments.seconds),
        "memory": partial(memory, arguments.shards),
        "cost": cost,
    }
    print("| measure | figure | must be |\n| --- | ---: | ---: |", flush=True)
    for name in arguments.only:
        with tempfile.TemporaryDirectory(prefix="scaling") as folder:
            print(f"| load before {name} | {os.getloadavg()[0]:.1f} | idle |", flush=True)
            for line in sections[name](Path(folder)):
                print("|", " | ".join(line), "|", flush=True)


if __name__ == "__main__":
    main()
