"""The files of a parent run: texts and copies of files, and its tables as MLflow shows tables."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pandas as pd

from eadbench.harness.analysis.aggregate import IDENTITY
from eadbench.harness.records import SweepRecord
from eadbench.harness.tracking import store
from eadbench.models import replace_file

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

TABLES_TAG = "mlflow.loggedArtifacts"
"""By which MLflow's page knows an artifact for a table."""


def write_artifacts(client: "MlflowClient", run: "Run", record: SweepRecord) -> None:
    """Write the artifacts that the run lacks; all of them to a run that has not ended, where one may be cut off."""
    names = [*record.artifacts, *record.files]
    held = set(_listed(client, run, names))
    with TemporaryDirectory() as temporary:
        for name in names:
            if name not in held or not store.ended(run):
                text = record.artifacts.get(name)
                content = record.files[name].read_bytes() if text is None else text.encode()
                replace_file(Path(temporary, name), content)
        if any(Path(temporary).iterdir()):
            client.log_artifacts(run.info.run_id, temporary)
    for name, csv in _tables(record).items():
        if name not in held:  # to one that is there, MLflow would add its lines once more
            client.log_table(run.info.run_id, _table(record.artifacts[csv]), name)


def table_tags(record: SweepRecord) -> Mapping[str, str]:
    """The tag that names the tables; `log_table` sets it too, but after the table."""
    tables = [{"path": name, "type": "table"} for name in _tables(record)]
    return {TABLES_TAG: json.dumps(tables)} if tables else {}


def _tables(record: SweepRecord) -> Mapping[str, str]:
    """By name, the CSV that each table is of, beside which it stands."""
    return {f"{name.removesuffix('.csv')}.json": name for name in record.artifacts if name.endswith(".csv")}


def _table(csv: str) -> pd.DataFrame:
    # Digests are text, even one such as 1e10000000000000, and so is a data set that is called NA.
    table = pd.read_csv(io.StringIO(csv), dtype=dict.fromkeys(IDENTITY, str), keep_default_na=False, na_values=[""])
    texts = table.select_dtypes(exclude="number").columns  # in any other form, MLflow looks for images in them
    return table.astype(dict.fromkeys(texts, "category"))


def _listed(client: "MlflowClient", run: "Run", names: Sequence[str]) -> Iterator[str]:
    """Yield the run's artifacts in the folders of those of these names."""
    for parent in sorted({str(PurePosixPath(name).parent) for name in names}):
        found = client.list_artifacts(run.info.run_id, None if parent == "." else parent)
        yield from (entry.path for entry in found if not entry.is_dir)
