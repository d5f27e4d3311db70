"""MLflow's store: how it is reached, patiently for seconds only, and how what is in it is found."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from eadbench.harness.errors import TrackingFault
from eadbench.harness.tracking_uri import artifact_location, database_file, redact
from eadbench.models import claim

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

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


@contextmanager
def opened(tracking_uri: str) -> Iterator["MlflowClient"]:
    """MLflow's client of a store, of which this process is the only writer if it is SQLite.

    Raises
    ------
    TrackingFault
        Whatever fails within.
    """
    try:
        with _only_writer(tracking_uri):
            yield _connect(tracking_uri)
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


def _only_writer(tracking_uri: str) -> AbstractContextManager[None]:
    """Keep other sweeps out of a SQLite store: two that open a fresh one break each other's migration."""
    database = database_file(tracking_uri)
    return nullcontext() if database is None else claim(database)


def experiment(client: "MlflowClient", name: str) -> str:
    """The id of the experiment of that name, which is created if it is not there."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            location = artifact_location(client.tracking_uri)
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:
            # Another sweep of the same name may have been first.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        restore = f"mlflow experiments restore --experiment-id {found.experiment_id}"
        raise LookupError(f"experiment {name!r} is deleted there: restore it ({restore}) or rename the spec")
    return str(found.experiment_id)


def runs(client: "MlflowClient", experiment_id: str, tag: str, value: str) -> "Iterator[Run]":
    """Every run of an experiment that has that value of a tag."""
    token: str | None = None
    while True:
        page = client.search_runs(
            [experiment_id], f"tags.`{tag}` = '{value}'", max_results=RUNS_PER_PAGE, page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def ended(run: "Run") -> bool:
    """Whether all of a run has been written."""
    return bool(run.info.status == "FINISHED")
