"""A sweep under faults: whatever is killed, removed or filled, its results must be those of an undisturbed run.

    uv run python benchmarks/chaos.py [--shards 200 --kills 50 --nodes 5 --drivers 5 --no-full-disk --seed 0]

A sweep of digits (two victims trained, attacked, and tested on each other's examples) runs on a Ray cluster of three
nodes on this machine. Meanwhile workers are killed, nodes removed and others added, drivers killed and started again
with another number of workers, and the disk under the results, a tmpfs of its own, filled once. What is hit, and after
how many parts, is drawn from the seed. `run` is repeated while its exit code is 3. The exit code is 1 if a fault was
left over, a driver ended in another way than it should, or the results differ.
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
    sys.path[0] = str(ROOT)  # not this file's folder, where `attacks` would be another

from benchmarks.faults import Asked, fill, schedule, small_disk, spec_of  # noqa: E402
from benchmarks.nodes import IDLE, Nodes  # noqa: E402

STALLED = 600.0  # seconds without a new part: the sweep hangs
PHASES = {"make": "training", "transfer": "transfer", IDLE: "no task"}
COUNTED = {"driver": "drivers killed", "fill": "full disks", "remove": "nodes removed", "add": "nodes added"}
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
    """A sweep, its faults, and what has been counted of them."""

    def __init__(self, asked: Asked, nodes: Nodes, spec: Path, results: Path, logs: Path) -> None:
        self.asked, self.nodes, self.spec, self.results, self.logs = asked, nodes, spec, results, logs
        self.draw = random.Random(asked.seed)
        self.faults = schedule(asked, self.draw)
        self.counts, self.workers = Counter[str](), 0
        self.start()

    def start(self) -> None:
        """Start a driver, with another number of workers than the last."""
        self.counts["runs"] += 1
        self.workers = self.draw.choice([number for number in self.asked.workers if number != self.workers])
        log, workers = self.logs / f"driver-{self.counts['runs']}.log", f"resources={{workers: {self.workers}}}"
        self.driver = Driver(self.spec, self.results, log, "--address", self.nodes.address, "--set", workers)

    def ended(self, code: int) -> str:
        """What a driver said that has ended, or ends now, with an exit code, which must be that one."""
        found, said = self.driver.process.wait(STALLED), self.driver.log.read_text()
        self.counts["tasks tried again"] += said.count(" is tried again after ")
        self.counts["tasks set aside"] += said.count(" failed after ")
        if found != code:
            raise RuntimeError(f"{self.driver.log}: a driver ended with {found}, not {code}")
        return said

    def run(self) -> None:
        """Run the sweep to its end."""
        parts, changed = 0, time.monotonic()
        while (code := self.driver.process.poll()) != 0:
            if code is not None:
                self.ended(3)
                self.start()
            before, parts = parts, len(list(self.results.glob("examples/[!.]*.parquet")))
            changed = time.monotonic() if parts != before else changed
            if time.monotonic() - changed > STALLED:
                raise RuntimeError(f"{self.driver.log}: no part in {STALLED:.0f} s")
            if self.faults and parts >= self.faults[0].due and self.strike(self.faults[0].kind, training=parts == 0):
                self.faults.popleft()
                time.sleep(self.draw.uniform(0.1, 1.5))
            time.sleep(0.1)
        self.ended(0)

    def strike(self, kind: str, *, training: bool) -> bool:
        """Do a fault; False if there is nothing yet that it could hit."""
        if kind == "kill":
            return self.kill(training=training)
        if kind in ("remove", "add"):
            self.nodes.remove(self.draw) if kind == "remove" else self.nodes.add()
        elif all(actor.title == IDLE for actor in self.nodes.actors()):
            return False
        elif kind == "driver":
            self.driver.process.kill()
            self.ended(-signal.SIGKILL)
            self.start()
        else:
            self.fill()
        self.counts[COUNTED[kind]] += 1
        return True

    def kill(self, *, training: bool) -> bool:
        """Kill a worker; none in a training that this driver has lost twice, as the third time would end it."""
        actors = self.nodes.actors()
        if training:
            actors = [a for a in actors if a.title.startswith("make ") and self.driver.kills[a.title] < 2]
        if all(actor.title == IDLE for actor in actors):
            return False
        actor = self.draw.choice(actors)
        with suppress(ProcessLookupError):
            os.kill(actor.pid, signal.SIGKILL)
        self.driver.kills[actor.title] += 1
        self.counts["workers killed"] += 1
        self.counts[f"of them in {PHASES.get(actor.title.split()[0], 'attack')}"] += 1
        return True

    def fill(self) -> None:
        """Fill the disk; the driver must end with one line, and the next one too. Make room, and start another."""
        ballast = self.results.parent / "ballast"
        fill(ballast)
        for last in (False, True):
            said = self.ended(1)
            errors = [line for line in said.splitlines() if line.startswith("error: ")]
            if len(errors) != 1 or "No space left on device" not in errors[0] or "Traceback" in said:
                raise RuntimeError(f"{self.driver.log}: a full disk must be one line")
            if last:
                ballast.unlink()
            self.start()


def compare(results: Path, reference: Path) -> tuple[dict[str, int], bool]:
    """What results have that are to equal others, and whether they do."""
    found, wrong = Counter[str](), Counter[str]()
    for kind, pattern in {"examples": "[!.]*", "images": "[!.]*", "models": "*/*.safetensors"}.items():
        ours, theirs = (
            {path.relative_to(root) for path in root.glob(f"{kind}/{pattern}")} for root in (results, reference)
        )
        equal = [path for path in ours & theirs if (results / path).read_bytes() == (reference / path).read_bytes()]
        found[f"equal files in {kind}"] = len(equal)
        wrong["files that differ, are missing or too many"] += len(ours | theirs) - len(equal)
    rows, expected = (pd.read_parquet(root / "examples", columns=KEYS) for root in (results, reference))
    wrong["rows twice"] = int(rows.duplicated().sum())
    both = pd.merge(rows, expected, how="outer", indicator=True)["_merge"] == "both"
    wrong["rows missing or too many"] = int((~both).sum())
    found["temporary files left behind"] = len(list(results.rglob(".*.tmp")))
    return {"rows": len(rows), **found, **wrong}, not wrong.total() and len(rows) > 0


def chaos(asked: Asked, folder: Path) -> tuple[dict[str, object], bool]:
    """The counts of a sweep under faults, all of it in a folder, and whether it met them all and is right."""
    spec, reference, disk = folder / "chaos.yaml", folder / "reference", folder / "disk"
    spec.write_text(spec_of(asked))
    clock = time.monotonic()
    with Nodes(asked.size, cpus=2) as nodes, small_disk(disk, 2**22 + asked.shards * 2**16) as reason:
        run = Chaos(replace(asked, full_disk=asked.full_disk and not reason), nodes, spec, disk / "results", folder)
        undisturbed = Driver(spec, reference, folder / "reference.log", "--executor", "serial")
        try:
            run.run()
            undisturbed.process.wait()
        finally:
            undisturbed.process.kill()
            run.driver.process.kill()
        found, equal = compare(run.results, reference)
    skipped = {"full disk skipped": reason} if asked.full_disk and reason else {}
    ends = {"faults left over": len(run.faults), "seconds": round(time.monotonic() - clock)}
    return {**run.counts, **skipped, **found, **ends}, equal and not run.faults


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("shards", "kills", "nodes", "drivers", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Asked, name))
    parser.add_argument("--full-disk", action=argparse.BooleanOptionalAction, default=True)
    folder = Path(tempfile.mkdtemp(prefix="chaos"))
    counts, right = chaos(Asked(**vars(parser.parse_args())), folder)
    print("| what | count |", "| --- | ---: |", *(f"| {name} | {count} |" for name, count in counts.items()), sep="\n")
    if not right:
        sys.exit(f"not as it must be; {folder} has what the drivers said")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
