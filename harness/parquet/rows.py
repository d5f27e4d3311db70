"""Rows of results: their columns, and how to write and read them."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from eadbench.harness.parquet.notes import Computed, noted
from eadbench.harness.parquet.query import FILES, Files
from eadbench.models import replace_file

_TEXT = pa.string()

SCHEMA = pa.schema(
    [
        ("dataset", _TEXT),
        ("split", _TEXT),
        ("image", pa.int64()),
        ("label", pa.int64()),
        ("target", pa.int64()),
        ("model", _TEXT),
        ("arch", _TEXT),
        ("defense", _TEXT),
        ("temperature", pa.float64()),
        ("trained_on", _TEXT),
        ("evaluated_on", _TEXT),
        ("attack", _TEXT),
        ("norm", _TEXT),
        ("decision_rule", _TEXT),
        ("beta", pa.float64()),
        ("kappa", pa.float64()),
        ("success", pa.bool_()),
        ("l0", pa.float32()),
        ("l1", pa.float32()),
        ("l2", pa.float32()),
        ("linf", pa.float32()),
        ("margin", pa.float32()),
        ("const", pa.float32()),
        ("epsilon", pa.float32()),
        ("iterations", pa.int64()),
        ("cell", _TEXT),
        ("shard", _TEXT),
        ("forward_passes", pa.int64()),
        ("defense_parameters", _TEXT),
        ("parameters", _TEXT),
        ("const_end", _TEXT),
        ("nonfinite", pa.int64()),
        ("survival", pa.float32()),
        ("precision", _TEXT),
        ("trace", pa.list_(pa.field("element", pa.float32()))),
        ("quantised", pa.bool_()),
        ("quantised_l0", pa.float32()),
        ("quantised_l1", pa.float32()),
        ("quantised_l2", pa.float32()),
        ("quantised_linf", pa.float32()),
        ("found_by", _TEXT),
        ("outside", pa.bool_()),
    ]
)
"""One row per example and decision rule. A value is null if it has no meaning for the attack, or the example failed.

`defense_parameters` and `parameters` are JSON; `parameters` holds the attack's hyperparameters that have no column.
`iterations` counts gradient evaluations, that is, backward passes. `const_end` is "least" if the search over c ended at
its least c, still succeeding, "greatest" if no c succeeded. `survival` is the share of repeated tests that a success on
a random victim passes. `nonfinite` counts gradient evaluations with a value that is not finite; in a transfer, tests
with such logits. `trace` has six values, the least distance by the cell's rule or norm within 1/32, 1/16, 1/8, 1/4, 1/2
and all of the budget; null before the first success, and without a budget. `quantised` says whether the image still
succeeds when it is rounded to 8 bits, and the distances after it are those of the rounded image; null in a transfer.
`found_by` names the member of an ensemble that broke the example. `outside` is true if the attack claimed a success
with a value outside of [0, 1], which counts as a failure, and else null.
"""

LATER = ("found_by", "outside")
"""Columns that came after the first rows of this format. Rows without them are read and hashed as if they were null. A
new column belongs here, or nobody's results could be read any more."""

WHAT = "the rows of a sweep"
"""Content of the files, for error messages."""

Key = tuple[str, int, int | None]
"""Cell, image and target class (None if untargeted): the identity of an example."""

_FLOATS = [field.name for field in SCHEMA if pa.types.is_floating(field.type)]
_OTHERS = [field.name for field in SCHEMA if not (pa.types.is_floating(field.type) or pa.types.is_list(field.type))]


def write_rows(
    path: Path,
    rows: Sequence[dict[str, Any]],
    computed: Computed = MappingProxyType({}),
    weights: Mapping[str, str] = MappingProxyType({}),
    code: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write `rows` to `path`, whole or not at all.

    Parameters
    ----------
    computed, weights, code
        What computed them, for the part's note.
    """
    replace_file(path, encoded(pa.Table.from_pylist(list(rows), schema=SCHEMA), computed, weights, code))


def encoded(
    table: pa.Table,
    computed: Computed = MappingProxyType({}),
    weights: Mapping[str, str] = MappingProxyType({}),
    code: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """Return a Parquet file of rows with the columns of :data:`SCHEMA`, and with a note."""
    content = pa.BufferOutputStream()
    pq.write_table(
        noted(table, dict(computed), weights, code),
        content,
        compression="zstd",
        use_dictionary=_OTHERS,
        column_encoding=dict.fromkeys(_FLOATS, "BYTE_STREAM_SPLIT"),
    )
    file: bytes = content.getvalue().to_pybytes()
    return file


def files_of(parts: Sequence[Path]) -> Files:
    """Return at least one file of rows, to query."""
    return Files(parts, SCHEMA, WHAT, later=LATER)


def as_stored(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return rows as :func:`read_rows` would read them after :func:`write_rows`."""
    return frame_of(pa.Table.from_pylist(list(rows), schema=SCHEMA))


def read_rows(
    parts: Sequence[Path], *, columns: Sequence[str] | None = None, cells: Collection[str] | None = None
) -> pd.DataFrame:
    """Read the rows in `parts`, or of some cells only, in the order of the files.

    Raises
    ------
    DamagedResults
        A part is not a Parquet file with the columns of :data:`SCHEMA`.
    """
    names = SCHEMA.names if columns is None else columns
    if not parts:
        return frame_of(SCHEMA.empty_table().select(names))
    parameters = {} if cells is None else {"cells": sorted(cells)}
    where = "WHERE cell IN (SELECT unnest($cells))" if parameters else ""
    query = f"SELECT {', '.join(names)} FROM {FILES} {where} ORDER BY file_index, file_row_number"
    return frame_of(files_of(parts).ask(query, parameters))


def parts_by_group(parts: Sequence[Path], groups: Mapping[str, int]) -> dict[int, list[Path]]:
    """Return the parts that have rows of each group of cells, in their order, after one look at all of them.

    Parameters
    ----------
    groups
        The group of each cell; rows of other cells are passed over.

    Raises
    ------
    UserError
        A part is not a Parquet file with the columns of :data:`SCHEMA`.
    """
    files = files_of(parts)
    files.create_table("groups", pa.table({"cell": [*groups], "group": [*groups.values()]}))
    query = f'SELECT DISTINCT "group", file_index FROM {FILES} JOIN groups USING (cell) ORDER BY ALL'
    pairs = files.ask(query).to_pydict()
    by_group: dict[int, list[Path]] = {}
    for group, index in zip(pairs["group"], pairs["file_index"], strict=True):
        by_group.setdefault(group, []).append(parts[index])
    return by_group


def frame_of(table: pa.Table) -> pd.DataFrame:
    """Return rows as a pandas frame; integers become Int64, because they may be null."""
    frame: pd.DataFrame = table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    return frame


def keys_of(frame: pd.DataFrame) -> list[Key]:
    """Return the key of each row's example, from the columns cell, image and target."""
    targets = frame["target"].astype(object)
    targets = targets.where(targets.notna(), None)
    return [*zip(frame["cell"].tolist(), frame["image"].tolist(), targets.tolist(), strict=True)]
