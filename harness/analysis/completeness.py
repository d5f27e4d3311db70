"""Which rows of a sweep are missing."""

from collections.abc import Iterator, Mapping

from eadbench.harness.results.snapshot import Snapshot

__all__ = ["missing_text"]

LineKey = tuple[str, str]
"""A cell, and the victim that its examples were tested on."""


def missing_text(snapshot: Snapshot, rows: Mapping[LineKey, int]) -> str | None:
    """Return in a sentence how many rows are missing; None if all are there, or before the victims are ready.

    Parameters
    ----------
    rows
        The number of rows of each line of a table, each example once.
    """
    per_line = snapshot.rows_per_line
    if per_line is None:
        return None
    lines = list(_lines(snapshot))
    missing = [per_line - rows.get(line, 0) for line in lines]
    incomplete = sum(count > 0 for count in missing)
    if not incomplete:
        return None
    return (
        f"{sum(missing):,} of {len(lines) * per_line:,} rows are missing, in {incomplete:,} of {len(lines):,} lines; "
        "the command that was to compute them goes on where it stopped"
    )


def _lines(snapshot: Snapshot) -> Iterator[LineKey]:
    """Yield every line that a complete sweep has: of its cells, and of its transfers."""
    tests = snapshot.folder.tests()
    for digest, cell in snapshot.cells.items():
        for victim in tests[cell.victim]:
            yield digest, victim
