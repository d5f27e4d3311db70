"""Which rows of a sweep are missing."""

from collections import Counter
from collections.abc import Iterator, Mapping

from eadbench.harness.results.snapshot import Snapshot

__all__ = ["missing_rows", "missing_text"]

LineKey = tuple[str, str]
"""A cell, and the victim that its examples were tested on."""

_AT_ONCE = 2**21
"""Rows in memory at once; more only if a single line has more."""


def missing_rows(snapshot: Snapshot) -> str | None:
    """Return in a sentence how many rows of a sweep are missing; None if all are there."""
    rows, counts = snapshot.stored_rows, Counter[int]()
    for batch in rows.batches(["image"], at_most=_AT_ONCE):
        counts.update(batch["line"].tolist())
    lines = zip(rows.lines.index, rows.lines["cell"], rows.lines["evaluated_on"], strict=True)
    return missing_text(snapshot, {(cell, tested): counts[line] for line, cell, tested in lines})


def missing_text(snapshot: Snapshot, rows: Mapping[LineKey, int]) -> str | None:
    """Return in a sentence how many rows are missing; None if all are there, or before the victims are ready.

    Parameters
    ----------
    rows
        The number of rows of each line of a table, each example once.
    """
    planned = dict(_lines(snapshot))
    missing = [count - rows.get(line, 0) for line, count in planned.items()]
    incomplete = sum(count > 0 for count in missing)
    if not incomplete:
        return None
    return (
        f"{sum(missing):,} of {sum(planned.values()):,} rows are missing, in {incomplete:,} of {len(planned):,} lines; "
        "the command that was to compute them goes on where it stopped"
    )


def _lines(snapshot: Snapshot) -> Iterator[tuple[LineKey, int]]:
    """Yield every line that a complete sweep has, of its cells and of its transfers, and its number of rows."""
    tests, per_line = snapshot.folder.tests(), snapshot.rows_per_line
    for digest, cell in snapshot.cells.items() if per_line else ():
        for victim in tests[cell.victim]:
            yield (digest, victim), per_line[digest]
