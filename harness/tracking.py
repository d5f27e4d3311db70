"""Write sweeps to MLflow: one experiment per spec, one parent run per invocation, one child run per cell.

Everything is looked for by its tags before it is written, so logging a sweep again adds only what is missing:
a run that was cut off between its creation and its end is completed, one that has ended is left alone. MLflow
takes seconds to import and is therefore imported in this module only, when the first sweep is logged.
"""

import json
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.errors import TrackingFault
from harness.records import CellRecord, Logged, ParamValue, SweepRecord
from harness.tracking_uri import artifact_location, database_file, redact

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Run

INVOCATION_TAG = "eadbench.invocation"
CELL_TAG = "eadbench.cell"
PARENT_TAG = "mlflow.parentRunId"

# MLflow's limits.
MAX_KEY = 250
MAX_PARAM = 6000
MAX_TAG = 8000
MAX_DATASET_DIGEST = 36
PER_REQUEST = 100
RUNS_PER_PAGE = 1000

MAX_REASON = 300

# A dead server has to cost seconds. And no retries at all: a request that timed out may have been served;
# MLflow would repeat "create a run" blindly, where logging the sweep again looks for the run first.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
DATABASE_ATTEMPTS = 2


def log_sweep(record: SweepRecord, tracking_uri: str) -> Logged:
    """Write to MLflow what is missing there of a sweep.

    May be called during the sweep (``finished=False``), after it, and again after a failure. A SQLite store
    is locked meanwhile; on a server, two calls at the same time for one invocation could both write a cell.

    Parameters
    ----------
    record
        The sweep.
    tracking_uri
        An MLflow tracking URI, such as ``http://host:5000`` or ``sqlite:////folder/mlflow.db``.

    Returns
    -------
    Logged
        The parent run and how many cells were written and found.

    Raises
    ------
    TrackingFault
        The store cannot be reached or refuses; what was written so far stays and is not written again.
    """
    try:
        with _only_writer(tracking_uri):
            return _write_sweep(_connect(tracking_uri), record, artifact_location(tracking_uri))
    # Anything at all: MLflow passes on what its database drivers and artifact stores (boto, azure) raise, and
    # none of it may end a sweep. The chain is cut because its messages quote the URI, password included.
    except Exception as error:
        reason = f"{type(error).__name__}: {_one_line(redact(str(error)))}"
        raise TrackingFault(f"cannot log to MLflow at {redact(tracking_uri)}: {reason}") from None


def _one_line(message: str) -> str:
    """Return a message on one line, a long one without its middle: MLflow puts the cause at the end."""
    line = " ".join(message.split())
    return line if len(line) <= MAX_REASON else f"{line[: MAX_REASON // 2]} ... {line[-MAX_REASON // 2 :]}"


def _connect(tracking_uri: str) -> "MlflowClient":
    """Import MLflow, patient for seconds only and silent, and return its client."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow.store.db.utils
    from mlflow import MlflowClient

    # Ten attempts, MLflow's own choice without a setting, take 100 s for a database that is not there.
    mlflow.store.db.utils.MAX_RETRY_COUNT = DATABASE_ATTEMPTS
    return MlflowClient(tracking_uri=tracking_uri)


def _write_sweep(client: "MlflowClient", record: SweepRecord, artifact_location: str | None) -> Logged:
    experiment_id = _experiment(client, record.experiment, artifact_location)
    tags = {**record.tags, INVOCATION_TAG: record.invocation}
    parent = next(_runs(client, experiment_id, INVOCATION_TAG, record.invocation), None)
    if parent is None:
        parent = client.create_run(experiment_id, run_name=record.name, tags=_tags(tags))
    run_id: str = parent.info.run_id

    _write_values(client, parent, params=record.params, metrics=record.metrics, tags=tags)
    for file_name, text in record.artifacts.items():
        client.log_text(run_id, text, file_name)

    children: dict[str, Run] = {}
    for child in _runs(client, experiment_id, PARENT_TAG, run_id):
        # Should a cell have two runs all the same, the one that has ended counts.
        if (digest := child.data.tags.get(CELL_TAG)) and (digest not in children or _ended(child)):
            children[digest] = child
    complete = {digest for digest, child in children.items() if _ended(child)}
    missing = [cell for cell in record.cells if cell.digest not in complete]
    for cell in missing:
        _write_cell(client, experiment_id, run_id, cell, children.get(cell.digest))

    if record.finished and not _ended(parent):
        client.set_terminated(run_id)
    return Logged(
        run_id=run_id,
        experiment_id=experiment_id,
        cells_written=len(missing),
        cells_found=len(record.cells) - len(missing),
    )


def _write_cell(
    client: "MlflowClient", experiment_id: str, parent_id: str, cell: CellRecord, begun: "Run | None"
) -> None:
    """Write one cell's run, or the rest of one that was begun; its end comes last and marks it complete."""
    tags = {PARENT_TAG: parent_id, CELL_TAG: cell.digest}
    run = begun or client.create_run(experiment_id, run_name=cell.name, tags=tags)
    _write_values(client, run, params=cell.params, metrics=cell.metrics, tags={})
    client.log_inputs(run.info.run_id, [_dataset(cell)])
    client.set_terminated(run.info.run_id)


def _write_values(
    client: "MlflowClient",
    run: "Run",
    *,
    params: Mapping[str, ParamValue],
    metrics: Mapping[str, float | None],
    tags: Mapping[str, str],
) -> None:
    """Write what the run does not hold: MLflow refuses to change a param and keeps all values of a metric."""
    from mlflow.entities import Metric, Param, RunTag

    now = time.time_ns() // 1_000_000
    entries: list[Param | Metric | RunTag] = []
    for key, param in params.items():
        if param is not None and _key(key) not in run.data.params:
            entries.append(Param(_key(key), _param(param)))
    for key, metric in metrics.items():
        if metric is not None and math.isfinite(metric) and run.data.metrics.get(_key(key)) != metric:
            entries.append(Metric(_key(key), float(metric), now, 0))
    entries += [RunTag(key, value) for key, value in _tags(tags).items() if run.data.tags.get(key) != value]

    for start in range(0, len(entries), PER_REQUEST):
        batch = entries[start : start + PER_REQUEST]
        client.log_batch(
            run.info.run_id,
            params=[entry for entry in batch if isinstance(entry, Param)],
            metrics=[entry for entry in batch if isinstance(entry, Metric)],
            tags=[entry for entry in batch if isinstance(entry, RunTag)],
            synchronous=True,
        )


def _experiment(client: "MlflowClient", name: str, artifact_location: str | None) -> str:
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(client.create_experiment(name, artifact_location=artifact_location))
        except MlflowException:
            # Another sweep of the same name may have been first.
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    if experiment.lifecycle_stage != "active":
        restore = f"mlflow experiments restore --experiment-id {experiment.experiment_id}"
        raise LookupError(f"experiment {name!r} is deleted there: restore it ({restore}) or rename the spec")
    return str(experiment.experiment_id)


def _runs(client: "MlflowClient", experiment_id: str, tag: str, value: str) -> "Iterator[Run]":
    token: str | None = None
    while True:
        page = client.search_runs(
            [experiment_id], f"tags.`{tag}` = '{value}'", max_results=RUNS_PER_PAGE, page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def _ended(run: "Run") -> bool:
    return bool(run.info.status == "FINISHED")


def _dataset(cell: CellRecord) -> "DatasetInput":
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return DatasetInput(
        Dataset(
            name=cell.dataset,
            digest=cell.dataset_digest[:MAX_DATASET_DIGEST],
            # MLflow's kind of source for data that code provides, so that `mlflow.data.get_source` works.
            source_type="code",
            source=json.dumps({"tags": {"dataset": cell.dataset, "digest": cell.dataset_digest}}),
        ),
        [InputTag("mlflow.data.context", "eval")],
    )


def _key(key: str) -> str:
    """Return a key that MLflow takes for params and metrics."""
    return re.sub(r"[^\w./ -]", "_", key)[:MAX_KEY]


def _param(value: str | float | int) -> str:
    """Return a param's text; 40 and 40.0 are one value and must fall in one group."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)[:MAX_PARAM]


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {_key(key): value[:MAX_TAG] for key, value in tags.items()}


@contextmanager
def _only_writer(tracking_uri: str) -> Iterator[None]:
    """Keep other sweeps out of a SQLite store: two that open a fresh one break each other's migration."""
    database = database_file(tracking_uri)
    if database is None:
        yield
        return
    import fcntl

    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f"{database.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
