"""Measure how long it takes to find what a sweep has left to run, and the memory that it takes.

    uv run python -m benchmarks.planning examples|cells|victims|parts [SIZE]

Of 10⁸ examples, 100,000 cells of one setting, 1,000 victims, or another shard size over 20,000 parts of 400 examples.
"""

import resource
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from eadbench.harness import spec
from eadbench.harness.execution.remaining import Remaining
from eadbench.harness.parquet.rows import SCHEMA, encoded
from eadbench.harness.plan import grid
from eadbench.harness.plan.grid import Shard, Victim
from eadbench.harness.results.folder import Results
from eadbench.harness.spec import Spec

CLASSES = range(10)
EAD = {"name": "ead", "decision_rules": ["en"]}


def sweep(images: int, attacks: Sequence[dict[str, Any]], shard_size: int = 200) -> Spec:
    """Return a sweep of the digits' images."""
    victims = [{"arch": "digits", "training": {"epochs": 1}}]
    return spec.parse(
        {
            "name": "planning",
            "dataset": {"name": "digits"},
            "images": {"count": images},
            "victims": victims,
            "attacks": list(attacks),
            "shard_size": shard_size,
        }
    )


def victim(number: int, images: int) -> Victim:
    """Return a victim that classifies every image correctly."""
    return Victim(
        digest=f"{number:016x}",
        name=None,
        arch="digits",
        defense="none",
        defense_parameters={},
        trained_on="digits",
        accuracy=1.0,
        images=range(images),
        labels=[image % 10 for image in range(images)],
    )


def shards(what: Spec, victims: int) -> Iterator[Shard]:
    """Plan every shard."""
    return grid.shards(what, "digits", CLASSES, [victim(i, what.images.count) for i in range(victims)])


def planned(what: Spec, victims: int, folder: Path) -> int:
    """Return how many examples are left to run, as a run finds them."""
    remaining = Remaining(Results(folder), partial(shards, what, victims), with_images=False)
    return sum(len(examples) for _, examples in remaining.examples_left())


def write_parts(what: Spec, folder: Path) -> int:
    """Write the rows of every shard, with the columns that the planner reads. Return how many parts there are."""
    results = Results(folder)
    results.examples.mkdir(parents=True)
    count = 0
    for shard in shards(what, 1):
        cells = shard.cell_digests
        columns = {
            "cell": [cells[e.beta, e.kappa, "en"] for e in shard.examples],
            "image": [e.image for e in shard.examples],
            "target": [e.target for e in shard.examples],
        }
        size = len(shard.examples)
        arrays = [pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(size, f.type) for f in SCHEMA]
        results.part(shard.digest).write_bytes(encoded(pa.Table.from_arrays(arrays, schema=SCHEMA)))
        count += 1
    return count


def axes(betas: int, kappas: int, **changes: Any) -> dict[str, Any]:
    """Return EAD on a grid of β and κ."""
    return {**EAD, "beta": [(i + 1) * 1e-6 for i in range(betas)], "kappa": list(range(kappas)), **changes}


def main(what: str, size: int | None = None) -> None:
    """Print what planning a sweep takes."""
    with TemporaryDirectory() as temporary:
        folder, parts = Path(temporary), 0
        match what:
            case "examples":
                case = sweep((size or 100_000_000) // (9 * 100), [axes(10, 10)]), 1
            case "cells":
                case = sweep(1, [axes((size or 100_000) // 100, 100)]), 1
                clock = time.process_time()
                named = len(next(shards(*case)).cell_digests)
                print(f"{named:,} cells named in {time.process_time() - clock:.1f} s CPU, once for all their shards")
            case "victims":
                case = sweep(10, [axes(1, 1)]), size or 1000
            case "parts":
                attacks = [axes(5, 4, max_iterations=10 + i) for i in range(20)]
                parts = write_parts(sweep((size or 20_000) * 400 // (20 * 20 * 9), attacks, 400), folder)
                case = sweep((size or 20_000) * 400 // (20 * 20 * 9), attacks, 333), 1
            case _:
                raise SystemExit(__doc__)
        clock, cpu = time.perf_counter(), time.process_time()
        left = planned(*case, folder)
        seconds, cpu = time.perf_counter() - clock, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{what}: {left:,} examples left, {parts:,} parts; {seconds:.1f} s, {cpu:.1f} s CPU, {peak:.2f} GiB")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
