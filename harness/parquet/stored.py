"""Read the rows that answer a spec from any number of files, without holding them all in memory.

A line is a line of a table: one cell tested on one victim. A first pass reads two columns of every file, and finds the
lines, the number of rows of each, and the files that hold them. Reading a line then opens only its files.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from eadbench.harness.errors import UserError
from eadbench.harness.parquet.query import FILES, Files
from eadbench.harness.parquet.rows import SCHEMA, WHAT, frame_of

__all__ = ["SETTING", "StoredRows", "Wanted"]

SETTING = (
    *("dataset", "split", "model", "arch", "defense", "defense_parameters", "temperature", "trained_on"),
    *("evaluated_on", "attack", "norm", "decision_rule", "beta", "kappa", "parameters", "cell"),
)
"""Columns with one value for all rows of a line."""

MOST_ROWS = 2**22
"""Rows of a line that are read; 4 million take about 1.2 GB. A few kilobytes of Parquet can hold billions."""
MOST_CHARACTERS = 2**20
"""Characters of a text that are read."""

Ints = NDArray[np.int64]

_LINE = ("cell", "evaluated_on", "model")
_EXAMPLE = ["line", "image", "target"]
_ROWS_WITH_LINES = f"{FILES} JOIN wanted ON wanted.cell = rows.cell AND wanted.evaluated_on = rows.evaluated_on"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The rows that answer a spec."""

    cells: Mapping[str, str]
    """Digests of the spec's cells, each with its attacked victim."""
    drawn: Mapping[str, Collection[int]]
    """Images drawn for each victim; empty for a victim that is tested on but not attacked."""


class StoredRows:
    """The wanted rows in `parts`; if an example occurs twice, its first row counts.

    Raises
    ------
    UserError
        A part is damaged or no sweep wrote it. The constructor and the methods raise this when they read the part.
    """

    lines: pd.DataFrame
    """One line each, indexed by number: the columns of ``SETTING``, and `rows`, an upper bound of its rows."""

    def __init__(self, parts: Sequence[Path], wanted: Wanted) -> None:
        self._files = Files(parts, SCHEMA, WHAT)
        self._files.create_table("wanted", _lines_table(wanted))
        self._files.create_table("drawn", _images_table(wanted))
        self._line, self._part, rows = self._row_counts() if parts else np.empty((3, 0), np.int64)
        counts = pd.Series(rows).groupby(self._line).sum()
        if len(counts) and counts.max() > MOST_ROWS:
            part = parts[int(self._part[rows.argmax()])]
            raise UserError(
                f"{part.parent}: a cell has {counts.max():,} rows on one victim, most of them in {part.name}; "
                f"at most {MOST_ROWS:,} are read"
            )
        self.lines = self._settings().assign(rows=counts)

    def read(self, columns: Sequence[str], lines: Collection[int] | None = None) -> pd.DataFrame:
        """Read some columns of some lines, or of all lines, in the order of the files.

        Returns
        -------
        DataFrame
            The columns `line` and `columns`, integers as Int64.
        """
        if lines is None:
            lines = self.lines.index
        names = [name for name in dict.fromkeys([*columns, "image", "target"]) if name not in SETTING]
        if not len(lines):
            table = SCHEMA.empty_table().select(names).add_column(0, "line", pa.array([], pa.int32()))
        else:
            table = self._files.ask(
                f"SELECT line, {', '.join(f'{_selected(name)} AS {name}' for name in names)} FROM {_ROWS_WITH_LINES} "
                "SEMI JOIN drawn ON drawn.model = wanted.model AND drawn.image = rows.image "
                "WHERE line IN (SELECT unnest($lines)) ORDER BY file_index, file_row_number",
                {"lines": list(lines)},
                indices=np.unique(self._part[np.isin(self._line, list(lines))]).tolist(),
            )
        rows = frame_of(table).drop_duplicates(_EXAMPLE, ignore_index=True)
        settings = self.lines.loc[rows["line"], [name for name in columns if name in SETTING]]
        return pd.concat([rows, settings.reset_index(drop=True)], axis=1)[["line", *columns]]

    def batches(self, columns: Sequence[str], *, at_most: int) -> Iterator[pd.DataFrame]:
        """Yield what :meth:`read` returns, in batches of whole lines of `at_most` rows; a longer line is one batch."""
        batch: list[int] = []
        size = 0
        for line, rows in zip(self.lines.index.tolist(), self.lines["rows"].tolist(), strict=True):
            if batch and size + rows > at_most:
                yield self.read(columns, batch)
                batch, size = [], 0
            batch.append(line)
            size += rows
        if batch:
            yield self.read(columns, batch)

    def _row_counts(self) -> tuple[Ints, Ints, Ints]:
        """Count the rows of every line in every part: lines (F,), parts (F,) and counts (F,), sorted."""
        query = f"SELECT line, file_index, count(*) FROM {_ROWS_WITH_LINES} GROUP BY ALL ORDER BY ALL"
        line, part, rows = (column.to_numpy() for column in self._files.ask(query).columns)
        return line, part, rows

    def _settings(self) -> pd.DataFrame:
        """Read the setting of every line from the first part that holds the line."""
        lines, first = np.unique(self._line, return_index=True)
        if not len(lines):
            return frame_of(SCHEMA.empty_table().select(SETTING))
        values = ", ".join(f"any_value({_selected(name)}) AS {name}" for name in SETTING)
        query = f"SELECT line, {values} FROM {_ROWS_WITH_LINES} GROUP BY line ORDER BY line"
        return frame_of(self._files.ask(query, indices=np.unique(self._part[first]).tolist())).set_index("line")


def _selected(name: str) -> str:
    """Return a column as a query selects it: texts without what is too long."""
    text = SCHEMA.field(name).type == pa.string()
    return f"left(rows.{name}, {MOST_CHARACTERS})" if text else f"rows.{name}"


def _lines_table(wanted: Wanted) -> pa.Table:
    """Number every possible line. The cells of one victim and attack share files, and have neighbouring numbers."""
    lines = [(cell, tested, model) for tested in wanted.drawn for cell, model in wanted.cells.items()]
    columns = {name: pa.array([line[i] for line in lines], pa.string()) for i, name in enumerate(_LINE)}
    return pa.table({"line": pa.array(range(len(lines)), pa.int32())} | columns)


def _images_table(wanted: Wanted) -> pa.Table:
    """Return the drawn images of every victim, one a row."""
    pairs = [(model, image) for model, images in wanted.drawn.items() for image in images]
    models = pa.array([model for model, _ in pairs], pa.string())
    return pa.table({"model": models, "image": pa.array([image for _, image in pairs], pa.int64())})
