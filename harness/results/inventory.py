"""What results there are below a folder: a line for each sweep."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from eadbench.harness.errors import EadbenchError
from eadbench.harness.messages import ago
from eadbench.harness.results.folder import Results
from eadbench.harness.results.owner import FILE
from eadbench.harness.results.status import Progress, Watched

__all__ = ["Sweep", "sweeps"]

DEPTH = 3
"""How many folders deep sweeps are looked for."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A results folder at a glance."""

    folder: Path
    name: str
    victims: int
    state: str
    rows: int
    size: int
    """Bytes of all files."""
    changed: str
    """When a file of it changed last."""
    problem: str | None
    """Why the folder cannot be read, in one line; None if it can."""


def sweeps(root: Path) -> Iterator[Sweep]:
    """Yield the sweeps in a folder and below it, sorted by their paths."""
    for spec in sorted(path for depth in range(DEPTH + 1) for path in root.glob("*/" * depth + "spec.yaml")):
        if (spec.parent / "victims.json").is_file() or (spec.parent / "format.json").is_file():
            yield _sweep(spec.parent)


def _sweep(folder: Path) -> Sweep:
    files = [path.stat() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    results = Results(folder)
    name, victims, progress, problem = "", 0, None, None
    try:
        name, victims = results.spec().name, len(results.victims()[1])
        progress = Watched(results).progress()
        state = _state(results, progress)
    except EadbenchError as error:
        state, problem = "cannot be read", str(error)
    return Sweep(
        folder=folder,
        name=name,
        victims=victims,
        state=state,
        rows=0 if progress is None else progress.rows_done + progress.transfer_rows_done,
        size=sum(file.st_size for file in files),
        changed=ago(datetime.fromtimestamp(max(file.st_mtime for file in files), UTC)),
        problem=problem,
    )


def _state(results: Results, progress: Progress | None) -> str:
    """Return how far a sweep is, and what else there is to know: it runs, or shards failed."""
    if progress is None:
        parts = ["victims are not ready"]
    elif progress.complete:
        parts = ["complete"]
    else:
        rows = progress.rows + progress.transfer_rows
        parts = [f"{100 * (progress.rows_done + progress.transfer_rows_done) // rows} %"]
    failures = len(list(results.failures.glob("[!.]*.json")))
    parts += [f"{failures} failed"] if failures else []
    parts += ["has an owner"] if (results.root / FILE).is_file() else []
    return ", ".join(parts)
