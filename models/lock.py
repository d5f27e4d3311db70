"""The right to write something: one process at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["claim"]


@contextmanager
def claim(place: Path) -> Iterator[None]:
    """Hold the right to write a file or folder; a second process waits, and should then look what is there.

    The lock is on a file beside it and ends with its process, however that ends. On a network file system it
    holds as far as that has `flock`. An object store has no locks: two processes that make one model there make the
    same one twice.
    """
    if not isinstance(place, os.PathLike):
        yield
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(f"{place.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
