"""The data set on its way to the workers."""

from typing import Any

import ray
from ray import cloudpickle

from eadbench.harness.datasets import DataSet
from eadbench.harness.errors import UserError

__all__ = ["check_sendable", "put"]


def check_sendable(data: DataSet) -> None:
    """Check that a data set can be sent to workers.

    Raises
    ------
    UserError
        Its splits hold what cannot be pickled.
    """
    try:
        cloudpickle.dumps(data, protocol=5, buffer_callback=lambda _: None)  # type: ignore[no-untyped-call]  # copies no arrays
    except Exception as error:  # what pickle meets raises anything
        raise _unsendable(data, error) from error


def put(data: DataSet) -> Any:
    """Put a data set into Ray's object store, and return the reference to it.

    Raises
    ------
    UserError
        As for :func:`check_sendable`.
    """
    try:
        return ray.put(data)
    except TypeError as error:
        raise _unsendable(data, error) from error


def _unsendable(data: DataSet, error: Exception) -> UserError:
    return UserError(
        f"dataset: {data.name} cannot be sent to workers; its splits must be such that pickle takes them "
        f"({' '.join(str(error).split())[:200]})"
    )
