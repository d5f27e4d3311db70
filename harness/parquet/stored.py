"""The rows of a sweep that answer its spec, from parts of any number and size, without holding them all.

A line is what a line of a table is: a cell, tested on one victim. A first pass over the parts reads two columns, and
finds which lines there are, how many rows each has, and in which parts. A line's rows are then read from these alone.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from eadbench.harness.parquet.query import FILES, Files
from eadbench.harness.parquet.rows import SCHEMA, WHAT, frame_of

__all__ = ["SETTING", "StoredRows", "Wanted"]

SETTING = (
    *("dataset", "split", "model", "arch", "defense", "temperature", "trained_on", "evaluated_on"),
    *("attack", "norm", "decision_rule", "beta", "kappa", "cell"),
)
"""The columns that all rows of a line share."""

Ints = NDArray[np.int64]

_LINE = ("cell", "evaluated_on", "model")
_EXAMPLE = ["line", "image", "target"]
_OF_LINES = f"{FILES} JOIN wanted ON wanted.cell = rows.cell AND wanted.evaluated_on = rows.evaluated_on"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which rows answer a spec."""

    cells: Mapping[str, str]
    """Its cells, each with the victim that is attacked there."""
    drawn: Mapping[str, Collection[int]]
    """The images of each victim; none of one that examples are only tested on."""


class StoredRows:
    """The rows in `parts` that are wanted; of an example that is there twice, the first.

    Raises
    ------
    UserError
        A part is damaged or not of a sweep, which shows when it is read: here, or by a method.
    """

    lines: pd.DataFrame
    """By the number of the line: the columns of ``SETTING``, and `rows`, the most that it has."""

    def __init__(self, parts: Sequence[Path], wanted: Wanted) -> None:
        self._files = Files(parts, SCHEMA, WHAT)
        self._files.define("wanted", _lines_table(wanted))
        self._files.define("drawn", _images_table(wanted))
        self._line, self._part, rows = self._found() if parts else np.empty((3, 0), np.int64)
        self.lines = self._settings().assign(rows=pd.Series(rows).groupby(self._line).sum())

    def read(self, columns: Sequence[str], lines: Collection[int] | None = None) -> pd.DataFrame:
        """Some columns of the rows of some lines, or of all: part after part, as they stand there.

        Returns
        -------
        DataFrame with the column `line` and those asked for, integers as Int64.
        """
        if lines is None:
            lines = self.lines.index
        read = list(dict.fromkeys([*columns, "image", "target"]))
        if not len(lines):
            table = SCHEMA.empty_table().select(read).add_column(0, "line", pa.array([], pa.int32()))
        else:
            table = self._files.ask(
                f"SELECT line, {', '.join(f'rows.{name}' for name in read)} FROM {_OF_LINES} "
                "SEMI JOIN drawn ON drawn.model = wanted.model AND drawn.image = rows.image "
                "WHERE line IN (SELECT unnest($lines)) ORDER BY file_index, file_row_number",
                {"lines": list(lines)},
                only=np.unique(self._part[np.isin(self._line, list(lines))]).tolist(),
            )
        return frame_of(table).drop_duplicates(_EXAMPLE, ignore_index=True)[["line", *columns]]

    def batches(self, columns: Sequence[str], *, at_most: int) -> Iterator[pd.DataFrame]:
        """What :meth:`read` gives, in batches of whole lines that have `at_most` rows; a longer line is one batch."""
        batch: list[int] = []
        held = 0
        for line, rows in zip(self.lines.index.tolist(), self.lines["rows"].tolist(), strict=True):
            if batch and held + rows > at_most:
                yield self.read(columns, batch)
                batch, held = [], 0
            batch.append(line)
            held += rows
        if batch:
            yield self.read(columns, batch)

    def _found(self) -> tuple[Ints, Ints, Ints]:
        """Which lines are in which parts, and with how many rows: (F,), (F,) and (F,), sorted."""
        query = f"SELECT line, file_index, count(*) FROM {_OF_LINES} GROUP BY ALL ORDER BY ALL"
        line, part, rows = (column.to_numpy() for column in self._files.ask(query).columns)
        return line, part, rows

    def _settings(self) -> pd.DataFrame:
        """The setting of every line, as the first part that has it says."""
        lines, first = np.unique(self._line, return_index=True)
        if not len(lines):
            return frame_of(SCHEMA.empty_table().select(SETTING))
        said = ", ".join(f"any_value(rows.{name}) AS {name}" for name in SETTING)
        query = f"SELECT line, {said} FROM {_OF_LINES} GROUP BY line ORDER BY line"
        return frame_of(self._files.ask(query, only=np.unique(self._part[first]).tolist())).set_index("line")


def _lines_table(wanted: Wanted) -> pa.Table:
    """Every line that there may be, numbered: the cells of one victim and attack, which share parts, side by side."""
    lines = [(cell, tested, model) for tested in wanted.drawn for cell, model in wanted.cells.items()]
    columns = {name: pa.array([line[i] for line in lines], pa.string()) for i, name in enumerate(_LINE)}
    return pa.table({"line": pa.array(range(len(lines)), pa.int32())} | columns)


def _images_table(wanted: Wanted) -> pa.Table:
    """Every victim's images."""
    drawn = [(model, image) for model, images in wanted.drawn.items() for image in images]
    models = pa.array([model for model, _ in drawn], pa.string())
    return pa.table({"model": models, "image": pa.array([image for _, image in drawn], pa.int64())})
