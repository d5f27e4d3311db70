"""The command that checks the files of results: verify."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from eadbench.harness.commands.options import AllowCode, Folder, err, out, warn
from eadbench.harness.errors import DamagedResults
from eadbench.harness.messages import printable

if TYPE_CHECKING:
    from eadbench.harness.results.folder import Results

_NAMED = 10
"""Rows that are named."""


def verify(
    folder: Folder,
    repair: Annotated[
        bool, typer.Option("--repair", help="Move damaged files to DIR/damaged; `run` makes them anew.")
    ] = False,
    rows: Annotated[
        int, typer.Option(min=0, metavar="N", help="Compute N random rows again from the stored victims, and compare.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Which rows are drawn.")] = 0,
    lock: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The lock to compare with, such as a published one, in place of DIR's own."),
    ] = None,
    allow_code: AllowCode = False,
) -> None:
    """Check every file of a sweep against its checksum, and all rows, victims and the spec against results.lock."""
    from eadbench.harness.results import verify as checks
    from eadbench.harness.results.folder import Results
    from eadbench.harness.results.owner import Owner

    results = Results(folder)
    results.spec()  # refuses a folder without results, before it is claimed
    count, left = 0, False
    with Owner(folder, warn) as owner:
        if repair:
            owner.claim()
        while damages := list(checks.damages(results)):
            count += len(damages)
            for damage in damages:
                _complain(damage.problem)
            moved = sum(checks.set_aside(results, damage) for damage in damages) if repair else 0
            left = not moved
            if left:
                break
    if left:
        raise typer.Exit(DamagedResults.exit_code)
    if count:
        place = escape(f"{folder}/{checks.DAMAGED}")
        out.print(f"Damaged files are in {place} now; run the sweep again to make them anew.", soft_wrap=True)
        return
    out.print("Every file is as it was written.")
    sound = _matches_lock(results, lock)
    sound &= not rows or _recomputed(results, rows, seed, allow_code)
    if not sound:
        raise typer.Exit(DamagedResults.exit_code)


def _complain(problem: str) -> None:
    err.print(escape(printable(problem)), soft_wrap=True, highlight=False)


def _matches_lock(results: "Results", given: Path | None) -> bool:
    """Say whether the results are those of a lock; return False if they are not."""
    from eadbench.harness.results import lock as locks
    from eadbench.harness.results.snapshot import Snapshot

    path = results.root / locks.LOCK if given is None else given
    if given is None and not path.is_file():
        out.print("There is no results.lock yet; `run` writes it when a sweep ends.", soft_wrap=True)
        return True
    expected, found = locks.read_lock(path), locks.attested(Snapshot(results))
    problems = locks.differences(results, expected, found)
    for problem in problems:
        _complain(f"{path}: {problem}")
    if not problems:
        out.print(f"The {found.lock.rows:,} rows have the root {found.lock.root}, as the lock says.", soft_wrap=True)
    return not problems


def _recomputed(results: "Results", count: int, seed: int, allow_code: bool) -> bool:
    """Compute a sample of rows again, say how they agree, and return False if one does not."""
    from eadbench.harness.execution.recomputing import recompute
    from eadbench.harness.results.snapshot import Snapshot

    again = recompute(Snapshot(results, allow_code=allow_code), count, seed=seed, allow_code=allow_code)
    for row in again.others[:_NAMED]:
        _complain(f"{results.root}: computed again, it differs by more than rounding: {row}")
    out.print(
        f"Computed {again.sampled:,} of {again.total:,} rows again (seed {seed}): {again.equal:,} are equal bit for "
        f"bit, {again.rounded:,} equal to rounding, {len(again.others):,} are not.",
        soft_wrap=True,
    )
    return not again.others
