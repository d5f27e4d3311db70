"""The right to make a model: one process at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["claim"]


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Hold the right to write a model into `folder`; a second process waits, and should then look what is there.

    The lock is on a file beside the folder and ends with its process, however that ends. On a network file system it
    holds as far as that has `flock`. An object store has no locks: two processes that make one model there make the
    same one twice.
    """
    if not isinstance(folder, os.PathLike):
        yield
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
