"""A sweep on an object store that fails half of the writes."""

from collections import Counter
from pathlib import Path

from benchmarks.equal import differences
from benchmarks.flaky_store import FlakyStore
from benchmarks.points import start
from benchmarks.tiny import SPEC, Sweep

__all__ = ["failing_writes", "run_until_done"]

MOST_RUNS = 60


def failing_writes(folder: Path, *, sweeps: int, share: float, seed: int) -> tuple[dict[str, object], bool]:
    """Run sweeps to their ends, however many drivers each needs.

    Return the counts, and whether each driver ended in one line or in success, and all results were equal to those in
    a folder.
    """
    reference, counts, errors = Sweep(folder / "reference"), Counter[str](), list[str]()
    reference.end()
    for index in range(sweeps):
        own = folder / f"sweep-{index}"
        with FlakyStore(share=share, seed=seed + index) as store:
            codes, texts = run_until_done(own, store)
            counts += Counter({f"writes {way}": count for way, count in store.counts.items()})
            counts += Counter(f"drivers that ended with {code}" for code in codes)
            errors += texts
            store.download(own.name, own / "results")
        errors += [f"sweep {index}: {text}" for text in differences(own, reference.folder)]
    return {"sweeps on an object store": sweeps, **counts, "differences on it": errors or 0}, not errors


def run_until_done(folder: Path, store: FlakyStore) -> tuple[list[int], list[str]]:
    """Run drivers until one succeeds; the prefix of their results is the folder's name.

    Return the exit codes, and the output of each driver that ended in another way than success, one line, or 3.
    """
    folder.mkdir(parents=True)
    (folder / "spec.yaml").write_text(SPEC)
    codes, errors = list[int](), list[str]()
    while 0 not in codes and len(codes) < MOST_RUNS:
        command = ("run", "spec.yaml", "--executor", "serial", "--results", f"s3://sweeps/{folder.name}")
        driver = start(*command, folder=folder, log=f"driver-{len(codes)}.log", environment=store.environment)
        codes.append(driver.wait())
        lines = driver.log.read_text().splitlines()
        if codes[-1] not in (0, 1, 3) or sum(line.startswith("error: ") for line in lines) != (codes[-1] == 1):
            errors.append("\n".join(lines))
    if 0 not in codes:
        errors.append(f"no driver of {MOST_RUNS} succeeded")
    return codes, errors
