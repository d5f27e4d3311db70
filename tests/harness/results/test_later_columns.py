"""Rows from before a column was added are read, compared and attested as if it were null there."""

import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from eadbench.harness.frames import Results
from eadbench.harness.parquet.rows import LATER, SCHEMA, encoded, read_rows
from eadbench.harness.results import lock, verify
from tests.sweeps import run, small

FGM = [{"name": "fgm", "norm": ["l2", "linf"], "epsilons": [1]}]


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new") / "small"
    run(small(attacks=FGM), folder)
    return folder


def age(part: Path) -> None:
    """Write a part again, as it was before the columns came."""
    table = pq.read_table(part, partitioning=None).drop_columns([*LATER])
    part.write_bytes(encoded(table.replace_schema_metadata()))


def test_later_columns_may_be_null() -> None:
    assert {*LATER} < {*SCHEMA.names} and all(SCHEMA.field(name).nullable for name in LATER)


@pytest.mark.parametrize("which", [slice(None), slice(0, 1), slice(-1, None)], ids=["all", "the first", "the last"])
def test_older_rows_are_read_as_null(which: slice, new: Path, tmp_path: Path) -> None:
    old = tmp_path / "small"
    shutil.copytree(new, old)
    parts = sorted((old / "examples").glob("*.parquet"))
    for part in parts[which]:
        age(part)
    columns = ["cell", "image", "target", "success", "l2", *LATER]
    pd.testing.assert_frame_equal(Results(old).rows(columns), Results(new).rows(columns))
    pd.testing.assert_frame_equal(read_rows(parts), read_rows([new / "examples" / part.name for part in parts]))
    pd.testing.assert_frame_equal(Results(old).summary.lines, Results(new).summary.lines)
    assert lock.attested(Results(old).snapshot).lock == lock.attested(Results(new).snapshot).lock
    assert not [*verify.damages(Results(old).snapshot.folder)]
