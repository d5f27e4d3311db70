"""An S3 server on loopback that fails a share of the writes.

A write fails in one of three ways, drawn by a seed: the server answers 503; it resets the connection before it writes;
or it writes, and then resets the connection, so that the client cannot know.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Self

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

__all__ = ["WAYS", "FlakyStore"]

WAYS = ("refused", "cut off before", "cut off after")
SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
Reply = Callable[..., Any]


class FlakyStore:
    """A context manager: the server, with a bucket `sweeps`. The servers of a process share what is stored.

    Parameters
    ----------
    share
        Share of the writes that fail, in [0, 1].

    Attributes
    ----------
    counts
        Writes by how they ended, "written" or one of :data:`WAYS`.
    """

    def __init__(self, *, share: float, seed: int) -> None:
        self.counts = Counter[str]()
        self._share, self._draw, self._lock = share, random.Random(seed), Lock()

    def __enter__(self) -> Self:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Silent)
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.environment = {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._server.server_port}",
            "AWS_MAX_ATTEMPTS": "1",  # s3fs repeats a request four times, after 0.1 to 0.5 s
        }
        self.client().create_bucket(Bucket="sweeps")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def client(self) -> Any:
        """Return a boto3 client of this server."""
        names = ("aws_access_key_id", "aws_secret_access_key", "region_name", "endpoint_url")
        return boto3.client("s3", **dict(zip(names, self.environment.values(), strict=False)))

    def download(self, prefix: str, folder: Path) -> None:
        """Write every object below a prefix of the bucket into a folder."""
        for page in self.client().get_paginator("list_objects_v2").paginate(Bucket="sweeps", Prefix=prefix):
            for entry in page.get("Contents", ()):
                path = folder / entry["Key"].removeprefix(prefix).lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.client().get_object(Bucket="sweeps", Key=entry["Key"])["Body"].read())

    def _answer(self, request: dict[str, Any], start: Reply) -> Iterable[bytes]:
        """Answer a request, as WSGI has it."""
        of_object = request["PATH_INFO"].startswith("/sweeps/")
        if not of_object or request["REQUEST_METHOD"] not in ("PUT", "POST", "DELETE"):
            return self._moto(request, start)  # type: ignore[no-any-return]
        with self._lock:
            way = self._draw.choice(WAYS) if self._draw.random() < self._share else "written"
            self.counts[way] += 1
        if way == "refused":
            request["wsgi.input"].read(int(request.get("CONTENT_LENGTH") or 0))
            start("503 Slow Down", [("Content-Length", str(len(SLOW_DOWN))), ("Content-Type", "application/xml")])
            return [SLOW_DOWN]
        answer = [] if way == "cut off before" else self._moto(request, start)
        if way != "written":
            raise ConnectionResetError
        return answer  # type: ignore[no-any-return]


class _Silent(MotoRequestHandler):
    def log_request(self, *_: Any) -> None:
        """Log nothing."""

    def connection_dropped(self, *_: Any) -> None:
        """Close the connection, whatever of the request has not been read."""
        self.close_connection = True
