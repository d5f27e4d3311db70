"""Two drivers at once on one results folder: one is refused in one line, and changes nothing.

The first driver is stopped at a point while the second one tries, and goes on afterwards; or both start together.
"""

import signal
import time
from collections import Counter
from pathlib import Path

from benchmarks.equal import differences
from benchmarks.points import Driver
from benchmarks.tiny import Prepared

__all__ = ["refused", "rivals"]

OTHERS = ((), ("--set", "images={count: 1}"), ("--set", "attacks=[{name: fgm, norm: l2}]"))
"""Changes of the spec that the second driver runs."""


def rivals(folder: Path, *, together: int) -> tuple[dict[str, object], bool]:
    """Start a second driver at every third point of a first one, and pairs of drivers together.

    Return the counts, and whether one of each pair was refused and the results were equal after each.
    """
    prepared, counts, errors = Prepared(folder), Counter[str](), list[str]()
    sweep = prepared.sweep
    for index, point in enumerate(prepared.points[1::3]):  # at the first, it is not the owner yet
        prepared.go_to(point)
        first = sweep.start(point=point, stop=signal.SIGSTOP)
        while not first.stop_reached():
            time.sleep(0.05)
        before = _content(sweep.results)
        second = sweep.start(*OTHERS[index % len(OTHERS)], log="second.log")
        if not refused(second):
            errors.append(f"{point}: the second driver: {second.log.read_text()}")
        if _content(sweep.results) != before:
            errors.append(f"{point}: the second driver has changed the results")
        first.go_on()
        counts["drivers refused while another was stopped"] += 1
        if first.wait():
            errors.append(f"{point}: the first driver: {first.log.read_text()}")
        errors += [f"{point}: {text}" for text in differences(sweep.folder, prepared.reference)]
    for _ in range(together):
        sweep.put_back(prepared.new)
        pair = [sweep.start(log=f"{name}.log") for name in ("one", "other")]
        codes = sorted(driver.wait() for driver in pair)
        counts["pairs of drivers started together"] += 1
        if codes != [0, 1] or not any(map(refused, pair)):
            errors.append(f"together: {[driver.log.read_text() for driver in pair]}")
        errors += [f"together: {text}" for text in differences(sweep.folder, prepared.reference)]
    return {**counts, "differences beside a second driver": errors or 0}, not errors


def refused(driver: Driver) -> bool:
    """Return whether a driver ended in one line, which says that another one works there."""
    code, output = driver.wait(), driver.log.read_text().strip()
    return code == 1 and output.startswith("error: ") and "\n" not in output and "works in this folder" in output


def _content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
