"""Run sweeps under faults, and check that their results equal those of an undisturbed run.

    uv run --group test python benchmarks/chaos.py [cluster] [kills] [rivals] [store] [--seed 0]
        [--shards 200 --kills 50 --nodes 5 --drivers 5 --no-full-disk] [--random 10] [--pairs 5] [--sweeps 5]

`kills`, `rivals` and `store` disturb drivers with the serial executor: see `kills.py`, `rivals.py` and
`failing_writes.py`. In `cluster`, a sweep trains two victims on the digits, attacks them, and tests the examples on the
other victim. It runs on a Ray cluster of three nodes on this machine. Meanwhile the script

- kills workers;
- removes nodes and adds others;
- kills drivers, and starts them again with another number of workers;
- fills the disk under the results, a small tmpfs, once.

The seed draws the time and the victim of each fault. The script runs `eadbench run` again while its exit code is 3. Its
own exit code is 1 if a fault could not be done, a driver ended with an unexpected exit code, or the results differ.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # in place of this folder, to import `benchmarks`

from benchmarks.faults import Asked, fill, schedule, small_disk, spec_of  # noqa: E402
from benchmarks.nodes import IDLE, Nodes  # noqa: E402

TIMEOUT = 600.0
"""Seconds without a new part after which the sweep is taken to hang."""
PHASES = {"make": "in training", "transfer": "in transfer", IDLE: "without a task"}
"""The phase of a worker by the first word of its task's title; other titles are attacks."""
COUNTERS = {"driver": "drivers killed", "fill": "full disks", "remove": "nodes removed", "add": "nodes added"}
KEYS = ["cell", "image", "target", "evaluated_on"]


class Driver:
    """A process of `eadbench run`."""

    def __init__(self, spec: Path, results: Path, log: Path, *arguments: str) -> None:
        self.log, self.kills = log, Counter[str]()
        command = [Path(sys.executable).with_name("eadbench"), "run", spec, "--results", results, *arguments]
        environment = os.environ | {"COLUMNS": "1000", "MLFLOW_TRACKING_URI": f"sqlite:///{log.parent}/mlflow.db"}
        with log.open("w") as file:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=file)


class Chaos:
    """A sweep under faults, and the counts of what happened."""

    def __init__(self, asked: Asked, nodes: Nodes, spec: Path, results: Path, logs: Path) -> None:
        self.asked, self.nodes, self.spec, self.results, self.logs = asked, nodes, spec, results, logs
        self.draw = random.Random(asked.seed)
        self.faults = schedule(asked, self.draw)
        self.counts, self.workers = Counter[str](), 0
        self.start()

    def start(self) -> None:
        """Start a driver, with another number of workers than the last."""
        self.counts["runs"] += 1
        self.workers = self.draw.choice([count for count in self.asked.workers if count != self.workers])
        log, workers = self.logs / f"driver-{self.counts['runs']}.log", f"resources={{workers: {self.workers}}}"
        self.driver = Driver(self.spec, self.results, log, "--address", self.nodes.address, "--set", workers)

    def wait_for_driver(self, expected_code: int) -> str:
        """Wait until the driver ends, check its exit code, and return its output."""
        code, output = self.driver.process.wait(TIMEOUT), self.driver.log.read_text()
        self.counts["tasks tried again"] += output.count(" is tried again after ")
        self.counts["tasks set aside"] += output.count(" failed after ")
        if code != expected_code:
            raise RuntimeError(f"{self.driver.log}: a driver ended with {code}, not {expected_code}")
        return output

    def run(self) -> None:
        """Run the sweep to its end."""
        parts, last_change = 0, time.monotonic()
        while (code := self.driver.process.poll()) != 0:
            if code is not None:
                self.wait_for_driver(3)
                self.start()
            before, parts = parts, len(list(self.results.glob("examples/[!.]*.parquet")))
            last_change = time.monotonic() if parts != before else last_change
            if time.monotonic() - last_change > TIMEOUT:
                raise RuntimeError(f"{self.driver.log}: no part in {TIMEOUT:.0f} s")
            if self.faults and parts >= self.faults[0].due and self.strike(self.faults[0].kind, training=parts == 0):
                self.faults.popleft()
                time.sleep(self.draw.uniform(0.1, 1.5))
            time.sleep(0.1)
        self.wait_for_driver(0)

    def strike(self, kind: str, *, training: bool) -> bool:
        """Do a fault. Return False if it has no target yet."""
        if kind == "kill":
            return self.kill(training=training)
        if kind in ("remove", "add"):
            self.nodes.remove(self.draw) if kind == "remove" else self.nodes.add()
        elif all(actor.title == IDLE for actor in self.nodes.actors()):
            return False
        elif kind == "driver":
            self.driver.process.kill()
            self.wait_for_driver(-signal.SIGKILL)
            self.start()
        else:
            self.fill()
        self.counts[COUNTERS[kind]] += 1
        return True

    def kill(self, *, training: bool) -> bool:
        """Kill a worker, but never one training for the third time in this driver, which would end the run."""
        actors = self.nodes.actors()
        if training:
            actors = [
                actor for actor in actors if actor.title.startswith("make ") and self.driver.kills[actor.title] < 2
            ]
        if all(actor.title == IDLE for actor in actors):
            return False
        actor = self.draw.choice(actors)
        with suppress(ProcessLookupError):
            os.kill(actor.pid, signal.SIGKILL)
        self.driver.kills[actor.title] += 1
        self.counts["workers killed"] += 1
        self.counts[f"workers killed {PHASES.get(actor.title.split()[0], 'in attack')}"] += 1
        return True

    def fill(self) -> None:
        """Fill the disk. The driver must end with a one-line error, and so must the next; then free the disk."""
        ballast = self.results.parent / "ballast"
        fill(ballast)
        for last in (False, True):
            output = self.wait_for_driver(1)
            errors = [line for line in output.splitlines() if line.startswith("error: ")]
            if len(errors) != 1 or "No space left on device" not in errors[0] or "Traceback" in output:
                raise RuntimeError(f"{self.driver.log}: a full disk must be one line")
            if last:
                ballast.unlink()
            self.start()


def compare(results: Path, reference: Path) -> tuple[dict[str, int], bool]:
    """Compare results with a reference. Return the counts, and whether they are equal."""
    counts, errors = Counter[str](), Counter[str]()
    for kind, pattern in {"examples": "[!.]*", "images": "[!.]*", "models": "*/*.safetensors"}.items():
        ours, theirs = (
            {path.relative_to(root) for path in root.glob(f"{kind}/{pattern}")} for root in (results, reference)
        )
        equal = [path for path in ours & theirs if (results / path).read_bytes() == (reference / path).read_bytes()]
        counts[f"equal files in {kind}"] = len(equal)
        errors["files that differ, are missing or too many"] += len(ours | theirs) - len(equal)
    rows, expected = (pd.read_parquet(root / "examples", columns=KEYS) for root in (results, reference))
    errors["rows twice"] = int(rows.duplicated().sum())
    both = pd.merge(rows, expected, how="outer", indicator=True)["_merge"] == "both"
    errors["rows missing or too many"] = int((~both).sum())
    counts["temporary files left behind"] = len(list(results.rglob(".*.tmp")))
    return {"rows": len(rows), **counts, **errors}, not errors.total() and len(rows) > 0


def chaos(asked: Asked, folder: Path) -> tuple[dict[str, object], bool]:
    """Run a sweep under faults in a folder. Return the counts, and whether every fault happened and results agree."""
    spec, reference, disk = folder / "chaos.yaml", folder / "reference", folder / "disk"
    spec.write_text(spec_of(asked))
    started = time.monotonic()
    with Nodes(asked.size, cpus=2) as nodes, small_disk(disk, 2**22 + asked.shards * 2**16) as problem:
        run = Chaos(replace(asked, full_disk=asked.full_disk and not problem), nodes, spec, disk / "results", folder)
        undisturbed = Driver(spec, reference, folder / "reference.log", "--executor", "serial")
        try:
            run.run()
            undisturbed.process.wait()
        finally:
            undisturbed.process.kill()
            run.driver.process.kill()
        counts, equal = compare(run.results, reference)
    skipped = {"full disk skipped": problem} if asked.full_disk and problem else {}
    final = {"faults left over": len(run.faults), "seconds": round(time.monotonic() - started)}
    return {**run.counts, **skipped, **counts, **final}, equal and not run.faults


def main() -> None:
    """Run sweeps under faults, and print the counts."""
    from benchmarks.failing_writes import failing_writes
    from benchmarks.kills import kills
    from benchmarks.rivals import rivals

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("shards", "kills", "nodes", "drivers", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Asked, name))
    for name, default in (("random", 10), ("pairs", 5), ("sweeps", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--full-disk", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("what", nargs="*", default=["cluster", "kills", "rivals", "store"])
    options = vars(parser.parse_args())
    at_random, pairs, sweeps, names = (options.pop(name) for name in ("random", "pairs", "sweeps", "what"))
    parts = {
        "cluster": lambda folder: chaos(Asked(**options), folder),
        "kills": lambda folder: kills(folder, at_random=at_random, seed=options["seed"]),
        "rivals": lambda folder: rivals(folder, together=pairs),
        "store": lambda folder: failing_writes(folder, sweeps=sweeps, share=0.5, seed=options["seed"]),
    }
    folder, right = Path(tempfile.mkdtemp(prefix="chaos")), True
    print("| what | count |", "| --- | ---: |", sep="\n")
    for name in names:
        (folder / name).mkdir()
        counts, part_right = parts[name](folder / name)
        print(*(f"| {what} | {count} |" for what, count in counts.items()), sep="\n", flush=True)
        right &= part_right
    if not right:
        sys.exit(f"the run failed or its results differ; {folder} has the drivers' logs")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
