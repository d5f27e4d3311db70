"""Results behind a web server, which can be read. A server that refuses or fails is an EnvironmentFault.

fsspec takes most failures of a request for a missing file, and passes on the others as aiohttp raises them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import aiohttp
from fsspec.implementations import http

from eadbench.harness.errors import EnvironmentFault

__all__ = ["HTTPFileSystem"]


class HTTPFileSystem(http.HTTPFileSystem):  # type: ignore[misc]
    """fsspec's file system of a web server, whose failures are exceptions of this project."""

    async def _exists(self, path: str, **options: Any) -> bool:
        """Return whether the server has a file. fsspec would answer "no" for a server that refuses or fails."""
        with _mapped(path):
            return bool(await super()._exists(path, **{**options, "strict": True}))

    async def _info(self, url: str, **options: Any) -> Any:
        with _mapped(url):
            return await super()._info(url, **options)

    async def _ls(self, url: str, detail: bool = True, **options: Any) -> Any:
        with _mapped(url):
            return await super()._ls(url, detail, **options)

    async def _cat_file(self, url: str, *arguments: Any, **options: Any) -> Any:
        with _mapped(url):
            return await super()._cat_file(url, *arguments, **options)


@contextmanager
def _mapped(url: str) -> Iterator[None]:
    """Map what a request raises.

    Raises
    ------
    FileNotFoundError
        The server answers 404.
    EnvironmentFault
        The server cannot be reached, refuses, or fails.
    """
    try:
        yield
    except (aiohttp.ClientError, FileNotFoundError) as error:
        cause = error.__cause__ if isinstance(error, FileNotFoundError) else error
        if not isinstance(cause, aiohttp.ClientError):
            raise
        if not isinstance(cause, aiohttp.ClientResponseError):
            raise EnvironmentFault(f"{url}: {cause}") from error
        if cause.status == HTTPStatus.NOT_FOUND:
            raise FileNotFoundError(url) from error
        raise EnvironmentFault(f"{url}: the server answers {cause.status} {cause.message}".rstrip()) from error
