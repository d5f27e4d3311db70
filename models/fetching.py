"""Keep a preview from fetching anything: what is not on this machine is named instead."""

import contextlib
import os
from collections.abc import Iterator

__all__ = ["NO_FETCH", "nothing_fetched", "refuse_fetch"]

NO_FETCH = "EADBENCH_NO_FETCH"
"""The environment variable that keeps published weights from being fetched, unless it is empty. Other processes that
build networks inherit it."""


@contextlib.contextmanager
def nothing_fetched() -> Iterator[None]:
    """Fetch nothing in this process, and in those that it starts, while the context is entered."""
    before = os.environ.get(NO_FETCH)
    os.environ[NO_FETCH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[NO_FETCH]
        else:
            os.environ[NO_FETCH] = before


def refuse_fetch(missing: str) -> None:
    """Refuse to fetch what is missing, which the message names, within :func:`nothing_fetched`.

    Raises
    ------
    ValueError
        Nothing may be fetched now.
    """
    if os.environ.get(NO_FETCH):
        raise ValueError(f"{missing}: `eadbench run` would fetch it, a plan fetches nothing")
