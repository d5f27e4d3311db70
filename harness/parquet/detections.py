"""What detectors say of the examples of a sweep, in Parquet: a file per shard and detector.

One row per example and decision rule, as in the rows of the shard, and in their order.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from eadbench.harness.parquet.notes import noted
from eadbench.harness.parquet.query import FILES, Files
from eadbench.harness.parquet.rows import frame_of
from eadbench.models import replace_file

__all__ = ["SCHEMA", "WHAT", "read_detections", "write_detections"]

WHAT = "the detections of a sweep"
"""Content of the files, for error messages."""
SCHEMA = pa.schema(
    [
        ("cell", pa.string()),
        ("image", pa.int64()),
        ("target", pa.int64()),
        ("detector", pa.string()),
        ("success", pa.bool_()),
        ("score", pa.float64()),
        ("rejected", pa.bool_()),
        ("clean_score", pa.float64()),
        ("clean_rejected", pa.bool_()),
    ]
)
"""`detector` is the digest of the detector's entry in the spec, and `success` that of the row. `score` and `rejected`
are of the adversarial image, null where the attack failed; `clean_score` and `clean_rejected` of the original. Scores
of sets are null for images that are in none."""


def write_detections(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write detections to `path`, whole or not at all. Equal content gives equal bytes."""
    content = pa.BufferOutputStream()
    pq.write_table(noted(pa.Table.from_pylist(list(rows), schema=SCHEMA), {}), content, compression="zstd")
    replace_file(path, content.getvalue().to_pybytes())


def read_detections(parts: Sequence[Path], cells: Collection[str]) -> pd.DataFrame:
    """Read the detections of some cells, in the order of the files.

    Raises
    ------
    DamagedResults
        :func:`write_detections` did not write a part.
    """
    if not parts:
        return frame_of(SCHEMA.empty_table())
    query = f"SELECT {', '.join(SCHEMA.names)} FROM {FILES} WHERE cell IN (SELECT unnest($cells)) "
    query += "ORDER BY file_index, file_row_number"
    return frame_of(Files(parts, SCHEMA, WHAT).ask(query, {"cells": sorted(cells)}))
