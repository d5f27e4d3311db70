"""The file that a spec's `targets` name: a row for each image and target class, as CSV or Parquet.

A resolved spec keeps the rows as texts, sorted, so that it stands alone. Which images and classes they mean depends on
the data set; :mod:`eadbench.harness.plan.target_rows` says.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

from eadbench.harness.errors import UserError
from eadbench.harness.messages import one_line, shown
from eadbench.harness.parquet.images import PARQUET, read_columns
from eadbench.harness.places import refuse_elsewhere
from eadbench.harness.spec.schema import FileTargets
from eadbench.harness.spec.yaml import plain
from eadbench.harness.storage import located

__all__ = ["pairs", "with_rows"]

COLUMNS = ("image", "target")
MOST_ROWS = 50_000
"""The most rows of a file, which a spec must hold."""


def with_rows(given: FileTargets, *, code: bool) -> FileTargets:
    """Return targets with the rows of their file, which is read if they have none.

    Parameters
    ----------
    code
        False for the spec in a results folder, for which no other file is read.

    Raises
    ------
    UserError
        The file cannot be read, lacks a column or a value, or has too many rows; or a row is not an image and a target.
    """
    where = "targets.file"
    if given.rows is None:
        if not code:
            raise UserError("targets.rows: is missing")
        rows = [_text(row) for row in _read(given.file, where)]
        if not 0 < len(rows) <= MOST_ROWS:
            raise UserError(f"{where}: {given.file} must have 1 to {MOST_ROWS:,} rows, got {len(rows):,}")
        given = given.model_copy(update={"rows": plain(rows)})
    pairs(given)
    return given.model_copy(update={"rows": sorted(given.rows or ())})


def pairs(targets: FileTargets) -> list[tuple[str, str]]:
    """Return the image and the target of each row.

    Raises
    ------
    UserError
        A row is not an image and a target.
    """
    both = []
    for row in targets.rows or ():
        try:
            image, target = next(csv.reader([row]), [])
        except (ValueError, csv.Error) as error:
            raise UserError(f"targets.rows: each must be an image and a target, got {shown(row)}") from error
        both.append((image, target))
    return both


def _text(values: Iterable[str]) -> str:
    """Return values as a line of a CSV file."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()


def _read(text: str, where: str) -> list[tuple[str, ...]]:
    """Return the columns of a file, row by row."""
    refuse_elsewhere(text, where)
    try:
        content = located(text).read_bytes()
    except (OSError, UserError) as error:
        raise UserError(f"{where}: {text} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if content.startswith(PARQUET):
        return list(zip(*read_columns(content, COLUMNS, f"{where}: {text}"), strict=True))
    return list(_csv_rows(content, f"{where}: {text}"))


def _csv_rows(content: bytes, where: str) -> Iterator[tuple[str, ...]]:
    """Yield the columns of a CSV file, row by row."""
    try:
        lines = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), skipinitialspace=True, strict=True)
        places = _places([name.strip() for name in next(lines, [])], where)
        for line in lines:
            values = tuple(line[place].strip() if place < len(line) else "" for place in places)
            if not all(values):
                if any(line):
                    raise UserError(f"{where}: line {lines.line_num} must have an image and a target")
                continue
            yield values
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{where}: must be a CSV file in UTF-8, or a Parquet file: {one_line(error)}") from error


def _places(header: Sequence[str], where: str) -> list[int]:
    """Return where the columns stand in a header."""
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise UserError(f"{where}: has no column {missing[0]!r}; its columns are {shown(', '.join(header))}")
    return [header.index(name) for name in COLUMNS]
