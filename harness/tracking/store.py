"""Connect to MLflow's store, give up after seconds, and search it."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from eadbench.harness.errors import EadbenchError, TrackingFault
from eadbench.harness.home import ensure_home
from eadbench.harness.messages import one_line, redact
from eadbench.harness.tracking.uri import artifact_location, database_file
from eadbench.models import lock

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RUNS_PER_PAGE = 1000
MAX_REASON = 300

# A dead server must cost seconds only. Never retry: the server may have carried out a request that timed out, and
# MLflow would blindly repeat "create a run". Logging the sweep again searches for the run first.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
DATABASE_ATTEMPTS = 2


@contextmanager
def open_store(tracking_uri: str, waiting: Callable[[str], None]) -> Iterator["MlflowClient"]:
    """Yield MLflow's client of a store. A SQLite store stays locked meanwhile, so this process is the only writer.

    Raises
    ------
    TrackingFault
        The store failed in the block.
    """
    try:
        with _only_writer(tracking_uri, waiting):
            yield _connect(tracking_uri)
    except EadbenchError:
        raise
    # MLflow passes on every error of its database drivers and artifact stores (boto, azure). None may end a sweep.
    # Cut the chain of causes: their messages quote the URI with its password.
    except Exception as error:
        reason = f"{type(error).__name__}: {_shortened(redact(str(error)))}"
        raise TrackingFault(f"cannot log to MLflow at {redact(tracking_uri)}: {reason}") from None


def _shortened(message: str) -> str:
    """Return a message on one line. Cut the middle of a long one: MLflow puts the cause at the end."""
    line = one_line(message)
    return line if len(line) <= MAX_REASON else f"{line[: MAX_REASON // 2]} ... {line[-MAX_REASON // 2 :]}"


def _connect(tracking_uri: str) -> "MlflowClient":
    """Import MLflow with short timeouts and without output, and return its client."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    ensure_home()
    import mlflow.store.db.utils
    from mlflow import MlflowClient

    # MLflow makes ten attempts, 100 s for a missing database, and has no setting for it.
    mlflow.store.db.utils.MAX_RETRY_COUNT = DATABASE_ATTEMPTS
    database = database_file(tracking_uri)
    if database is not None and not database.exists():
        _create(database)
    return MlflowClient(tracking_uri=tracking_uri)


def _create(database: Path) -> None:
    """Create a SQLite store under another name, and rename it: MLflow never completes a store that is half made."""
    from mlflow import MlflowClient

    draft = database.with_name(f".{database.name}.new")
    draft.unlink(missing_ok=True)
    MlflowClient(tracking_uri=f"sqlite:///{draft}").search_experiments(max_results=1)
    draft.replace(database)


def _only_writer(tracking_uri: str, waiting: Callable[[str], None]) -> AbstractContextManager[None]:
    """Lock a SQLite store: two sweeps that open a new store at the same time break each other's migration."""
    database = database_file(tracking_uri)
    return nullcontext() if database is None else lock(database, waiting)


def experiment(client: "MlflowClient", name: str) -> str:
    """Return the id of the experiment called `name`, and create it if missing."""
    from mlflow.exceptions import MlflowException

    known = client.get_experiment_by_name(name)
    if known is None:
        try:
            location = artifact_location(client.tracking_uri)
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:
            # Another sweep of this name may have created it meanwhile.
            known = client.get_experiment_by_name(name)
            if known is None:
                raise
    if known.lifecycle_stage != "active":
        restore = f"mlflow experiments restore --experiment-id {known.experiment_id}"
        raise LookupError(f"experiment {name!r} is deleted there: restore it ({restore}) or rename the spec")
    return str(known.experiment_id)


def runs(client: "MlflowClient", experiment_id: str, tag: str, value: str) -> "Iterator[Run]":
    """Yield every run of an experiment with this value of a tag."""
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
    """Return whether a run is complete."""
    return bool(run.info.status == "FINISHED")
