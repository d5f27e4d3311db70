"""A lock between processes on a file or folder that one of them is about to write."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["lock"]

SILENT = 5.0
"""Seconds after which whoever waits for a lock is told."""


@contextmanager
def lock(path: Path, waiting: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Hold the lock on `path`; wait while another process holds it.

    Once the lock is held, look whether the other process has written `path` already. The lock is on a file beside
    `path`. The operating system releases it when the process ends, however it ends. On a network file system this
    needs `flock`. An object store has no locks: two processes may make the same model there twice.

    Parameters
    ----------
    waiting
        Called with a text if another process holds the lock for long.
    """
    if not isinstance(path, os.PathLike):
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # A soft lock, filelock's fallback without `flock`, would outlive a process that is killed.
    file = FileLock(path.with_name(f"{path.name}.lock"), fallback_to_soft=False)
    try:
        file.acquire(timeout=SILENT)
    except Timeout:
        waiting(f"waiting for {file.lock_file}, which another process holds")
        file.acquire()
    try:
        yield
    finally:
        file.release()
