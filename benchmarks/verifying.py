"""Measure what `eadbench verify`, rows, tables and `claims` take on a large folder, each in a new process.

    uv run python -m benchmarks.verifying [--parts 2000] [--rows 200] [--images 4]

The folder has parts of some rows, and parts of 2,000 images of 3 × 64 × 64, of 98 MB each.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from multiprocessing import Process
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.aggregation import generate
from eadbench.harness.analysis import summary as summaries
from eadbench.harness.frames import Results as Frames
from eadbench.harness.paper import claims
from eadbench.harness.parquet.adversarial import write_images
from eadbench.harness.results import verify
from eadbench.harness.results.folder import Results

SHAPE = (2000, 3, 64, 64)


def fill(folder: Path, parts: int, rows: int, images: int) -> None:
    """Write the folder."""
    generate(folder, parts * rows, rows)
    draw = np.random.default_rng(0)
    for part in sorted(Results(folder).examples.iterdir())[:images]:
        keys = [(f"{0:016x}", index, 0) for index in range(SHAPE[0])]
        write_images(Results(folder).image_part(part.stem[:16]), keys, draw.random(SHAPE, np.float32))


def measure(what: str, folder: Path) -> None:
    """Read the folder in this process; print the seconds of CPU and the peak of memory in GiB, imports included."""
    match what:
        case "verify":
            count = len(list(verify.damages(Results(folder))))
        case "rows":
            count = len(Frames(folder).rows())
        case "summary":
            count = len(Frames(folder).summary.lines)
        case "claims":
            pool = summaries.pool([Frames(folder).snapshot])
            count = len(claims.check(pool.rows, pool.victims, tested=pool.tested))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps([count, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20]))


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("parts", 2000), ("rows", 200), ("images", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure[0], Path(options.measure[1]))
        return
    with TemporaryDirectory() as temporary:
        folder = Path(temporary, "results")
        # In another process: one that is started begins with the peak of the process that starts it.
        filling = Process(target=fill, args=(folder, options.parts, options.rows, options.images))
        filling.start()
        filling.join()
        print(f"{len(list(Results(folder).examples.iterdir())):,} parts, {options.images} parts of images")
        print("| what | result | seconds | CPU seconds | peak memory, GiB |\n| --- |" + " ---: |" * 4)
        for what in ("verify", "rows", "summary", "claims"):
            command = [sys.executable, "-m", "benchmarks.verifying", "--measure", what, str(folder)]
            started = time.perf_counter()
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            count, cpu, peak = json.loads(output)
            print(f"| {what} | {count:,} | {time.perf_counter() - started:.1f} | {cpu:.1f} | {peak:.2f} |")


if __name__ == "__main__":
    main()
