"""MLflow's own server on loopback, in this process, that can be told when to die."""

import importlib
import logging
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.tracking_store import make_store


class TrackingServer:
    """A server that keeps its runs in `folder`.

    Attributes
    ----------
    left
        Requests that it still answers before it only hangs up; None for all there will be.
    requests
        Requests that it has answered.
    delay
        Seconds that it takes for an answer.
    users
        The values of the requests' `Authorization`.
    """

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from mlflow.server import app, handlers
            from werkzeug.serving import make_server

            importlib.import_module("mlflow.server.fastapi_app")  # or it would warn when it is first asked

            (folder / "artifacts").mkdir(parents=True)
            make_store(folder / "mlflow.db")
            handlers._tracking_store = handlers._model_registry_store = None  # those of an earlier server
            with pytest.MonkeyPatch.context() as patch:  # MLflow would make this the store of the whole process
                patch.setattr("mlflow.tracking._tracking_service.utils.set_tracking_uri", lambda uri: None)
                handlers.initialize_backend_stores(
                    f"sqlite:///{folder}/mlflow.db", default_artifact_root=str(folder / "artifacts")
                )
        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
        self.folder = folder
        self.left: int | None = None
        self.requests, self.delay = 0, 0.0
        self.users: set[str] = set()
        self._app: Callable[..., Iterable[bytes]] = app
        self._server = make_server("127.0.0.1", 0, self._answer)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if self.left == 0:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return []
        if self.left is not None:
            self.left -= 1
        self.requests += 1
        time.sleep(self.delay)
        self.users.add(environ.get("HTTP_AUTHORIZATION", ""))
        return self._app(environ, start_response)

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
