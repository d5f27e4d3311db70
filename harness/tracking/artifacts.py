"""Artifacts of a parent run: texts, copies of files, and tables in the form that MLflow displays."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pandas as pd

from eadbench.harness.analysis.aggregate import IDENTITY
from eadbench.harness.tracking import store
from eadbench.harness.tracking.records import SweepRecord
from eadbench.models import replace_file

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

TABLES_TAG = "mlflow.loggedArtifacts"
"""Tag that tells MLflow's page which artifacts are tables."""


def write_artifacts(client: "MlflowClient", run: "Run", record: SweepRecord) -> None:
    """Write the artifacts that the run lacks. Before the run has ended, write all files again: one may be cut off."""
    names = [*record.artifacts, *record.files]
    stored = set(_stored(client, run, names))
    with TemporaryDirectory() as temporary:
        for name in names:
            if name not in stored or not store.ended(run):
                text = record.artifacts.get(name)
                content = record.files[name].read_bytes() if text is None else text.encode()
                replace_file(Path(temporary, name), content)
        if any(Path(temporary).iterdir()):
            client.log_artifacts(run.info.run_id, temporary)
    for name, csv in _tables(record).items():
        if name not in stored:  # MLflow would append the lines to an existing table
            client.log_table(run.info.run_id, _table(record.artifacts[csv]), name)


def table_tags(record: SweepRecord) -> Mapping[str, str]:
    """Return the tag that names the tables; `log_table` sets it too, but after it has written a table."""
    tables = [{"path": name, "type": "table"} for name in _tables(record)]
    return {TABLES_TAG: json.dumps(tables)} if tables else {}


def _tables(record: SweepRecord) -> Mapping[str, str]:
    """Return the name of each table, and the CSV file beside it that has its content."""
    return {f"{name.removesuffix('.csv')}.json": name for name in record.artifacts if name.endswith(".csv")}


def _table(csv: str) -> pd.DataFrame:
    """Read a table from CSV."""
    # A digest such as 1e10000000000000 is text, and so is the name of a data set called NA.
    table = pd.read_csv(io.StringIO(csv), dtype=dict.fromkeys(IDENTITY, str), keep_default_na=False, na_values=[""])
    texts = table.select_dtypes(exclude="number").columns  # MLflow looks for images in texts that are no category
    return table.astype(dict.fromkeys(texts, "category"))


def _stored(client: "MlflowClient", run: "Run", names: Sequence[str]) -> Iterator[str]:
    """Yield the run's artifacts in the folders that hold `names`."""
    for folder in sorted({str(PurePosixPath(name).parent) for name in names}):
        entries = client.list_artifacts(run.info.run_id, None if folder == "." else folder)
        yield from (entry.path for entry in entries if not entry.is_dir)
