"""Kill drivers at every point of a run, and start them again.

For each point a driver starts, kills itself there, and another one goes on. Then everything must be as an undisturbed
driver leaves it.
"""

import random
import signal
from collections import Counter
from pathlib import Path

from benchmarks.equal import differences
from benchmarks.tiny import Prepared

__all__ = ["kills"]

PHASES = {
    "mlflow": "in logging",
    "models/": "while a model is made",
    "examples/*-": "in a transfer",
    "images/": "in a commit",
    "shards/": "in a commit",
    "examples/": "in a commit",
    "report/": "in report writing",
    "invocations/": "while the invocation is kept",
}
"""Where a point is, by how its name begins; other points are at the start."""


def kills(folder: Path, *, at_random: int, seed: int) -> tuple[dict[str, object], bool]:
    """Kill drivers at each point and at random times. Return the counts, and whether results were equal after each."""
    prepared, draw = Prepared(folder), random.Random(seed)
    sweep, counts, errors = prepared.sweep, Counter[str](), list[str]()

    def check(where: str, event: str) -> None:
        sweep.end()
        counts[f"drivers killed {where}"] += 1
        errors.extend(f"{event}: {text}" for text in differences(sweep.folder, prepared.reference))

    for point in prepared.points:
        prepared.go_to(point)
        sweep.end(point=point, code=-signal.SIGKILL)
        where = next((phase for start, phase in PHASES.items() if point.name.startswith(start)), "at the start")
        check(where, str(point))
    for _ in range(at_random):
        sweep.put_back(prepared.new)
        driver = sweep.start(after=(seconds := draw.uniform(0, 0.9 * prepared.seconds)))
        check("at random" if driver.wait() else "too late", f"after {seconds:.2f} s")
    return {**counts, "differences after a kill": errors or 0}, not errors
