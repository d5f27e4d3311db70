"""Read the rows that answer a spec from any number of files, without holding them all in memory.

A line is a line of a table: one cell tested on one victim. A first pass reads two columns of every file, and finds the
lines, the number of rows of each, and the files that hold them. Reading a line then opens only its files.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from eadbench.harness.errors import DamagedResults, UserError
from eadbench.harness.parquet.notes import Note, read_notes
from eadbench.harness.parquet.query import FILES
from eadbench.harness.parquet.rows import SCHEMA, WHAT, files_of, frame_of

__all__ = ["SETTING", "StoredRows", "Wanted", "contradictory"]

_STORED_SETTING = (
    *("dataset", "split", "model", "arch", "defense", "defense_parameters", "temperature", "trained_on"),
    *("evaluated_on", "attack", "norm", "decision_rule", "beta", "kappa", "parameters", "cell"),
)
SETTING = (*_STORED_SETTING, "targets")
"""Columns with one value for all rows of a line. How target classes are chosen is known from the cell alone."""

MOST_ROWS = 2**22
"""Rows of a line that are read; 4 million take about 1.2 GB. A few kilobytes of Parquet can hold billions."""
MOST_CHARACTERS = 2**20
"""Characters of a text that are read."""

Ints = NDArray[np.int64]

_LINE = ("cell", "evaluated_on", "model")
_EXAMPLE = ["line", "image", "target"]
DISTANCES = ("l1", "l2", "linf")
_ROUNDING = 0.01
"""The relative difference of two distances that another device, batch size or shard size may explain."""
_ROWS_WITH_LINES = f"{FILES} JOIN wanted ON wanted.cell = rows.cell AND wanted.evaluated_on = rows.evaluated_on"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The rows that answer a spec."""

    cells: Mapping[str, str]
    """Digests of the spec's cells, each with its attacked victim."""
    drawn: Mapping[str, Collection[int]]
    """Images drawn for each victim; empty for a victim that is tested on but not attacked."""
    targets: Mapping[str, str] = field(default_factory=dict)
    """How the target classes of each cell are chosen, in words."""


class StoredRows:
    """The wanted rows in `parts`; if an example occurs twice, its first row counts.

    Raises
    ------
    DamagedResults
        A part is damaged or no sweep wrote it, has values that no row has, or contradicts another. The constructor and
        the methods raise this when they read the part.
    """

    lines: pd.DataFrame
    """One line each, indexed by number: the columns of ``SETTING``, and `rows`, an upper bound of its rows."""

    def __init__(self, parts: Sequence[Path], wanted: Wanted) -> None:
        self._parts, self._notes = parts, read_notes(parts, WHAT)
        self._agreeing: set[int] = set()
        """Lines whose rows of one example have been compared."""
        self._files = files_of(parts)
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
        settings = self._settings()
        self.lines = settings.assign(targets=settings["cell"].map(wanted.targets), rows=counts)

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
        frame = frame_of(table)
        self._check_values(frame)
        again = frame.duplicated(_EXAMPLE)
        self._check_agreement({int(line) for line in frame.loc[again, "line"]})
        rows = frame[~again].reset_index(drop=True)
        settings = self.lines.loc[rows["line"], [name for name in columns if name in SETTING]]
        return pd.concat([rows, settings.reset_index(drop=True)], axis=1)[["line", *columns]]

    def _check_values(self, rows: pd.DataFrame) -> None:
        """Refuse a row without a success or failure, and a success with a distance that none can have."""
        if "success" not in rows:
            return
        impossible = np.array(rows["success"].isna())
        success = rows["success"].eq(True).to_numpy(dtype=np.bool_)
        for name in DISTANCES:
            if name in rows:
                values = rows[name].to_numpy(dtype=np.float64, na_value=np.nan)
                impossible |= success & ~((values >= 0) & np.isfinite(values))
        if impossible.any():
            row = rows[impossible].iloc[0]
            line, image = int(row["line"]), int(row["image"])
            indices = np.unique(self._part[self._line == line]).tolist()
            files = self._files.ask(
                f"SELECT DISTINCT file_index FROM {_ROWS_WITH_LINES} WHERE line = $line AND image = $image "
                "ORDER BY ALL",
                {"line": line, "image": image},
                indices=indices,
            ).to_pydict()["file_index"]
            raise DamagedResults.of(
                [self._parts[indices[file]] for file in files],
                f"a row of image {image} in cell {self.lines['cell'][line]} is a success without a distance, has one "
                "that no perturbation has, or is neither a success nor a failure",
            )

    @property
    def notes(self) -> list[Note]:
        """The notes of the parts that hold wanted rows."""
        return [self._notes[part] for part in np.unique(self._part)]

    def _check_agreement(self, lines: set[int]) -> None:
        """Refuse lines that have two rows of one example which differ by more than rounding."""
        lines -= self._agreeing
        if not lines:
            return
        indices = np.unique(self._part[np.isin(self._line, list(lines))]).tolist()
        rows = self._files.ask(
            f"SELECT line, file_index, image, target, success, {', '.join(DISTANCES)} FROM {_ROWS_WITH_LINES} "
            "WHERE line IN (SELECT unnest($lines)) ORDER BY file_index, file_row_number",
            {"lines": list(lines)},
            indices=indices,
        ).to_pandas()
        twice = rows[rows.duplicated(_EXAMPLE, keep=False)]
        pairs = twice.merge(twice.drop_duplicates(_EXAMPLE), on=_EXAMPLE, suffixes=("", "_first"))
        differs = contradictory(pairs, "", "_first")
        if differs.any():
            pair = pairs[differs].iloc[0]
            first, other = (self._parts[indices[int(pair[name])]] for name in ("file_index_first", "file_index"))
            cell = str(self.lines["cell"][pair["line"]])
            raise DamagedResults.of([first, other], f"contradictory rows of image {int(pair['image'])} in cell {cell}")
        self._agreeing |= lines

    def batches(
        self, columns: Sequence[str], *, at_most: int, lines: Collection[int] | None = None
    ) -> Iterator[pd.DataFrame]:
        """Yield what :meth:`read` returns, in batches of whole lines of `at_most` rows; a longer line is one batch."""
        batch: list[int] = []
        size = 0
        counts = self.lines["rows"] if lines is None else self.lines.loc[list(lines), "rows"]
        for line, rows in zip(counts.index.tolist(), counts.tolist(), strict=True):
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
            return frame_of(SCHEMA.empty_table().select(_STORED_SETTING))
        values = ", ".join(f"any_value({_selected(name)}) AS {name}" for name in _STORED_SETTING)
        query = f"SELECT line, {values} FROM {_ROWS_WITH_LINES} GROUP BY line ORDER BY line"
        return frame_of(self._files.ask(query, indices=np.unique(self._part[first]).tolist())).set_index("line")


def _selected(name: str) -> str:
    """Return a column as a query selects it: texts without what is too long."""
    text = SCHEMA.field(name).type == pa.string()
    return f"left(rows.{name}, {MOST_CHARACTERS})" if text else f"rows.{name}"


def contradictory(pairs: pd.DataFrame, first: str, other: str) -> NDArray[np.bool_]:
    """Return which pairs of rows of one example differ in success, or by more than rounding in a distance.

    Parameters
    ----------
    first, other
        Suffixes of the columns of the two rows.
    """
    success, again = (pairs[f"success{suffix}"].to_numpy(dtype=np.bool_) for suffix in (first, other))
    differs: NDArray[np.bool_] = success != again
    for name in DISTANCES:
        ours, theirs = (pairs[name + end].to_numpy(dtype=np.float64, na_value=np.nan) for end in (first, other))
        differs |= success & ~np.isclose(ours, theirs, rtol=_ROUNDING, atol=0.0, equal_nan=True)
    return differs


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
