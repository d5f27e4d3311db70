"""URIs of MLflow's stores: the default, the command that opens its page, and local files."""

import os
import shlex
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from eadbench.harness.messages import redact


def default_tracking_uri(results: Path) -> str:
    """Return ``MLFLOW_TRACKING_URI`` if set, else a SQLite store beside the results.

    Parameters
    ----------
    results
        A sweep's results. Sweeps in one folder share one store, so that MLflow can compare them. Results in an object
        store use ``results/mlflow.db`` in the working folder.
    """
    folder = results.absolute().parent if isinstance(results, os.PathLike) else Path("results").absolute()
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow.db'}"


def page_command(tracking_uri: str, experiment_id: str | None = None) -> str:
    """Return the shell command that opens MLflow's page, or the address of a server's page, without secrets.

    Parameters
    ----------
    tracking_uri
        The store of the sweeps.
    experiment_id
        The experiment to show on a server; all unless given.
    """
    if tracking_uri.startswith(("http://", "https://")):
        scheme, address, path, _, _ = urlsplit(tracking_uri)
        page = urlunsplit((scheme, address.rpartition("@")[2], path.rstrip("/") + "/", "", ""))
        return page if experiment_id is None else f"{page}#/experiments/{experiment_id}"
    store = shlex.quote(tracking_uri) if redact(tracking_uri) == tracking_uri else '"$MLFLOW_TRACKING_URI"'
    runner = "uv run " if "UV" in os.environ else ""  # uv says so to what it runs
    return f"{runner}mlflow ui --backend-store-uri {store}"


def database_file(tracking_uri: str) -> Path | None:
    """Return the file of a SQLite store, or None for another store."""
    scheme, _, path = tracking_uri.partition(":///")
    path = path.partition("?")[0]
    return Path(path).absolute() if scheme == "sqlite" and path not in ("", ":memory:") else None


def artifact_location(tracking_uri: str) -> str | None:
    """Return the URI of a local store's artifacts; MLflow's default is the working folder."""
    database = database_file(tracking_uri)
    return None if database is None else (database.parent / "mlartifacts").as_uri()
