"""S3 by s3fs. What botocore raises becomes an EnvironmentFault here, so that no other module knows botocore.

s3fs maps most answers of a server to an `OSError`. It passes on what goes wrong before there is an answer: missing or
expired credentials, a server that cannot be reached.
"""

from collections.abc import AsyncIterator
from typing import Any

import s3fs
from botocore.exceptions import BotoCoreError, ParamValidationError
from fsspec.asyn import sync_wrapper

from eadbench.harness.errors import EnvironmentFault

__all__ = ["S3FileSystem"]


class S3FileSystem(s3fs.S3FileSystem):  # type: ignore[misc]
    """s3fs's file system, whose failures are exceptions of this project."""

    async def _call_s3(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the S3 client: every request of s3fs passes here.

        Raises
        ------
        EnvironmentFault
            The store cannot be reached or asked.
        """
        try:
            return await super()._call_s3(method, *arguments, **options)
        except ParamValidationError:  # s3fs turns it into a ValueError
            raise
        except BotoCoreError as error:
            raise EnvironmentFault(f"S3: {error}; what is committed stays") from error

    call_s3 = sync_wrapper(_call_s3)

    async def _isfile(self, path: str) -> bool:
        """Return whether a path is a file. fsspec would answer "no" for a store that refuses or fails."""
        try:
            return bool((await self._info(path))["type"] == "file")
        except FileNotFoundError:
            return False

    async def _walk(self, path: str, maxdepth: int | None = None, **options: Any) -> AsyncIterator[Any]:
        """List folders and files. fsspec would list nothing in a store that refuses or fails."""
        async for listing in super()._walk(path, maxdepth, **{"on_error": _raise_unless_missing, **options}):
            yield listing


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
