"""A sweep as runs: the parent, its victims and its cells."""

from pathlib import Path
from typing import TYPE_CHECKING

from eadbench.harness.records import CellRecord, Logged, SweepRecord, VictimRecord
from eadbench.harness.tracking import artifacts, logged_models, store, values

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

INVOCATION_TAG = "eadbench.invocation"
CELL_TAG = "eadbench.cell"
VICTIM_TAG = "eadbench.victim"
PARENT_TAG = "mlflow.parentRunId"


def log_sweep(record: SweepRecord, tracking_uri: str, folder: Path) -> Logged:
    """Write to MLflow what is missing there of a sweep.

    May be called during the sweep (``finished=False``), after it, and again after a failure. A SQLite store
    is locked meanwhile; on a server, two calls at the same time for one invocation could both write a cell.

    Parameters
    ----------
    record
        The sweep.
    tracking_uri
        An MLflow tracking URI, such as ``http://host:5000`` or ``sqlite:////folder/mlflow.db``.
    folder
        The results, where the victims' weights are.

    Returns
    -------
    Logged
        The parent run and how many cells were written and found.

    Raises
    ------
    TrackingFault
        The store cannot be reached or refuses; what was written so far stays and is not written again.
    """
    with store.opened(tracking_uri) as client:
        return _write_sweep(client, record, folder)


def _write_sweep(client: "MlflowClient", record: SweepRecord, folder: Path) -> Logged:
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
    for cell in missing:
        _write_cell(client, run_id, experiment_id, cell, children.get(cell.digest), models)
    # Files last: where they are slow, or their store is away, every cell is there.
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
    """The runs of a parent's victims and cells, by their digests."""
    found: dict[str, Run] = {}
    for child in store.runs(client, experiment_id, PARENT_TAG, parent_id):
        digest = child.data.tags.get(CELL_TAG) or child.data.tags.get(VICTIM_TAG)
        # Should a cell have two runs all the same, the one that has ended counts.
        if digest and (digest not in found or store.ended(child)):
            found[digest] = child
    return found


def _complete(run: "Run | None") -> bool:
    return run is not None and store.ended(run)


def _write_victim(
    client: "MlflowClient", parent_id: str, experiment_id: str, victim: VictimRecord, begun: "Run | None"
) -> "LoggedModel":
    """Write what is missing of a victim's run and of its model, but for the weights."""
    tags = {**victim.tags, PARENT_TAG: parent_id, VICTIM_TAG: victim.digest}
    run = begun or client.create_run(experiment_id, run_name=victim.name, tags=values.as_tags(tags))
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
    begun: "Run | None",
    models: "dict[str, LoggedModel]",
) -> None:
    """Write one cell's run, or the rest of one that was begun; its end comes last and marks it complete."""
    from mlflow.entities import LoggedModelInput

    tags = {**cell.tags, PARENT_TAG: parent_id, CELL_TAG: cell.digest}
    run = begun or client.create_run(experiment_id, run_name=cell.name, tags=values.as_tags(tags))
    values.write_values(client, run, params=cell.params, metrics=cell.metrics, tags=tags)
    attacked = [LoggedModelInput(models[cell.victim].model_id)] if cell.victim in models else []
    client.log_inputs(run.info.run_id, [values.dataset_input(cell)], attacked)
    client.set_terminated(run.info.run_id)
