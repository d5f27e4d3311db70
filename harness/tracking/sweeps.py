"""Write a sweep to MLflow as runs: the parent, its victims and its cells."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from eadbench.harness.tracking import artifacts, logged_models, store, values
from eadbench.harness.tracking.records import CellRecord, Logged, SweepRecord, VictimRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

INVOCATION_TAG = "eadbench.invocation"
CELL_TAG = "eadbench.cell"
VICTIM_TAG = "eadbench.victim"
PARENT_TAG = "mlflow.parentRunId"


def log_sweep(
    record: SweepRecord,
    tracking_uri: str,
    folder: Path,
    *,
    deadline: float = math.inf,
    waiting: Callable[[str], None] = lambda _: None,
) -> Logged:
    """Write to MLflow what it lacks of a sweep.

    Call this during the sweep (``finished=False``), after it, or again after a failure. It locks a SQLite store. On a
    server, two simultaneous calls for one invocation could both write a cell.

    Parameters
    ----------
    record
        The sweep.
    tracking_uri
        An MLflow tracking URI, such as ``http://host:5000`` or ``sqlite:////folder/mlflow.db``.
    folder
        The results, which hold the victims' weights.
    deadline
        When to stop, by :func:`time.monotonic`.
    waiting
        Called with a text if another process holds the lock on the store for long.

    Returns
    -------
    Logged
        The parent run, and the numbers of cells that were written and that were complete before.

    Raises
    ------
    TrackingFault
        The store cannot be reached or refuses, or the deadline has passed. What was written stays, and is not written
        again.
    """
    with store.open_store(tracking_uri, waiting) as client:
        return _write_sweep(client, record, folder, deadline)


def _write_sweep(client: "MlflowClient", record: SweepRecord, folder: Path, deadline: float) -> Logged:
    experiment_id = store.experiment(client, record.experiment)
    tags = {**record.tags, **artifacts.table_tags(record), INVOCATION_TAG: record.invocation}
    parent = next(store.runs(client, experiment_id, INVOCATION_TAG, record.invocation), None)
    if parent is None:
        parent = client.create_run(experiment_id, run_name=record.name, tags=values.as_tags(tags))
    run_id: str = parent.info.run_id
    values.write_values(client, parent, params=record.params, metrics=record.metrics, tags=tags)
    values.write_curves(client, parent, record.curves)

    children = _children(client, experiment_id, run_id)
    models = {
        victim.digest: _write_victim(client, run_id, experiment_id, victim, children.get(victim.digest))
        for victim in record.victims
    }
    missing = [cell for cell in record.cells if not _complete(children.get(cell.digest))]
    for index, cell in enumerate(missing):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the server is slow, and {len(missing) - index} of {len(record.cells)} cells are left")
        _write_cell(client, run_id, experiment_id, cell, children.get(cell.digest), models)
    # Write the files last: if they are slow or their store is down, every cell is complete.
    artifacts.write_artifacts(client, parent, record)
    for victim in record.victims:
        logged_models.write_weights(client, models[victim.digest], victim, folder)

    if record.finished and not store.ended(parent):
        client.set_terminated(run_id)
    return Logged(
        run_id=run_id,
        experiment_id=experiment_id,
        cells_written=len(missing),
        cells_found=len(record.cells) - len(missing),
    )


def _children(client: "MlflowClient", experiment_id: str, parent_id: str) -> "dict[str, Run]":
    """Return the runs of a parent's victims and cells, by their digests."""
    runs: dict[str, Run] = {}
    for child in store.runs(client, experiment_id, PARENT_TAG, parent_id):
        digest = child.data.tags.get(CELL_TAG) or child.data.tags.get(VICTIM_TAG)
        # If a cell has two runs after all, the complete one counts.
        if digest and (digest not in runs or store.ended(child)):
            runs[digest] = child
    return runs


def _complete(run: "Run | None") -> bool:
    return run is not None and store.ended(run)


def _write_victim(
    client: "MlflowClient", parent_id: str, experiment_id: str, victim: VictimRecord, run: "Run | None"
) -> "LoggedModel":
    """Write what is missing of a victim's run and model, except the weights; create the run if it is None."""
    tags = {**victim.tags, PARENT_TAG: parent_id, VICTIM_TAG: victim.digest}
    run = run or client.create_run(experiment_id, run_name=victim.name, tags=values.as_tags(tags))
    model = logged_models.find_or_create(client, run, victim)
    values.write_values(client, run, params=victim.params, metrics={}, tags=tags)
    values.write_model_metrics(client, run, model, victim)
    if not store.ended(run):
        client.log_inputs(run.info.run_id, [values.dataset_input(victim)])
    logged_models.write_output(client, run, model)
    if not store.ended(run):
        client.set_terminated(run.info.run_id)
    return model


def _write_cell(
    client: "MlflowClient",
    parent_id: str,
    experiment_id: str,
    cell: CellRecord,
    run: "Run | None",
    models: "dict[str, LoggedModel]",
) -> None:
    """Write or complete a cell's run; create it if it is None. Its end, written last, marks it complete."""
    from mlflow.entities import LoggedModelInput

    tags = {**cell.tags, PARENT_TAG: parent_id, CELL_TAG: cell.digest}
    run = run or client.create_run(experiment_id, run_name=cell.name, tags=values.as_tags(tags))
    values.write_values(client, run, params=cell.params, metrics=cell.metrics, tags=tags)
    attacked = [LoggedModelInput(models[cell.victim].model_id)] if cell.victim in models else []
    client.log_inputs(run.info.run_id, [values.dataset_input(cell)], attacked)
    client.set_terminated(run.info.run_id)
