"""Where MLflow's store is, how its page is opened, and how its secrets are kept out of sight."""

import os
import re
import shlex
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

USERINFO = re.compile(r"://(?:[^/\s]*|[^/\s:@]*:[^\s@]*)@")
SECRET_FIELD = re.compile(r"([?&][^=&\s]*(?:password|passwd|secret|token)[^=&\s]*=)[^&\s]+", re.IGNORECASE)


def default_tracking_uri(results: Path) -> str:
    """Return ``MLFLOW_TRACKING_URI`` if set, else a SQLite store beside the results.

    Parameters
    ----------
    results
        A sweep's results; the sweeps beside it compare in one store. For those of an object store, which no SQLite
        file can be beside, ``results/mlflow.db`` here.
    """
    beside = results.absolute().parent if isinstance(results, os.PathLike) else Path("results").absolute()
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{beside / 'mlflow.db'}"


def page_command(tracking_uri: str, experiment_id: str | None = None) -> str:
    """Return what opens MLflow's page: a shell command, or the address for a server's URI; without secrets.

    Parameters
    ----------
    tracking_uri
        The store that was logged to.
    experiment_id
        On a server, the experiment to show (default: all).
    """
    if tracking_uri.startswith(("http://", "https://")):
        scheme, address, path, _, _ = urlsplit(tracking_uri)
        page = urlunsplit((scheme, address.rpartition("@")[2], path.rstrip("/") + "/", "", ""))
        return page if experiment_id is None else f"{page}#/experiments/{experiment_id}"
    if redact(tracking_uri) != tracking_uri:
        return 'uv run mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"'
    return f"uv run mlflow ui --backend-store-uri {shlex.quote(tracking_uri)}"


def redact(text: str) -> str:
    """Return a URI, or a message that quotes URIs, with users, passwords and tokens replaced by ``***``."""
    return SECRET_FIELD.sub(r"\1***", USERINFO.sub("://***@", text))


def database_file(tracking_uri: str) -> Path | None:
    """Return a SQLite store's file, None for every other store."""
    scheme, _, path = tracking_uri.partition(":///")
    path = path.partition("?")[0]
    return Path(path).absolute() if scheme == "sqlite" and path not in ("", ":memory:") else None


def artifact_location(tracking_uri: str) -> str | None:
    """Return where a local store's artifacts go; MLflow would put them into the working folder."""
    database = database_file(tracking_uri)
    return None if database is None else (database.parent / "mlartifacts").as_uri()
