"""Caches of the Hugging Face hub: look there first, and use the network only for what they lack."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from huggingface_hub import constants
from huggingface_hub.utils import get_session

from eadbench.models.code import NO_CODE
from eadbench.models.fetching import refuse_fetch

__all__ = ["cache_first", "read_from"]

T = TypeVar("T")


def read_from(place: str, load: Callable[[], T]) -> T:
    """Call a function that reads a local folder, or a repository of the hub.

    Raises
    ------
    ValueError
        The folder lacks what it reads, or has it damaged; or see :func:`cache_first`.
    """
    if not Path(place).is_dir():
        return cache_first(load)
    try:
        return load()
    except Exception as error:  # of the libraries that read its files, which have many kinds
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"the folder {place} is not a whole saved model: {type(error).__name__}: {reason}") from error


def cache_first(load: Callable[[], T]) -> T:
    """Call a function that reads from the hub: without the network, then with it.

    Nothing is fetched if HF_HUB_OFFLINE is set, or for the spec of a stranger (`--no-code`).

    Raises
    ------
    ValueError
        What it reads is neither in the cache nor to be had.
    """
    missing = f"is not in the cache {constants.HF_HUB_CACHE}"
    remedy = "fetch it there on a machine with a network, or name a local folder"
    try:
        with _offline():
            return load()
    except OSError as error:  # the hub's own errors are of this kind
        if constants.HF_HUB_OFFLINE:
            raise ValueError(f"{missing}, and HF_HUB_OFFLINE is set; {remedy}") from error
        if os.environ.get(NO_CODE):
            raise ValueError(f"{missing}, and --no-code fetches nothing; {remedy}") from error
    refuse_fetch(missing)
    try:
        get_session().head(constants.ENDPOINT, timeout=10)  # its own functions try for a minute
        return load()
    except Exception as error:  # of the network's libraries, which have many kinds
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{missing} and cannot be fetched; {remedy} ({reason})") from error


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Keep huggingface_hub, and packages above it, from making requests."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
