"""Data sets by name: images in [0, 1] and labels, in a train and a test split."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from eadbench.harness.datasets.builtin import cifar10, digits, mnist
from eadbench.harness.datasets.data_set import DataSet, Split, gather
from eadbench.harness.datasets.own import folder, parquet
from eadbench.harness.errors import UserError
from eadbench.harness.registry import Registry

__all__ = ["DATASETS", "DataSet", "Split", "at_hand", "gather", "load"]

DATASETS = Registry(
    "data set",
    {"mnist": mnist, "cifar10": cifar10, "digits": digits, "parquet": parquet, "folder": folder},
    {},
)


def load(name: str, **parameters: Any) -> DataSet:
    """Load the data set called `name` in `DATASETS`, or at an import path.

    Raises
    ------
    UserError
        The name is unknown, a parameter is unknown or missing, or the files are missing or damaged.
    """
    loader: Callable[..., DataSet] = DATASETS.look_up(name)
    signature = inspect.signature(loader)
    try:
        signature.bind(**parameters)
    except TypeError as error:
        known = ", ".join(str(parameter) for parameter in signature.parameters.values()) or "no parameters"
        raise UserError(f"data set {name!r}: {error}; it takes {known}") from error
    try:
        data = loader(**parameters)
    except UserError as error:
        raise UserError(f"dataset: {error}") from error
    if not isinstance(data, DataSet):
        raise UserError(f"dataset: {name} must return an eadbench.harness.datasets.DataSet, got {type(data).__name__}")
    return data


def at_hand(name: str, parameters: Mapping[str, Any]) -> DataSet | str:
    """Load a data set from this machine, without a download; if that fails, return the reason."""
    offline = {"download": False} if "download" in parameters else {}
    try:
        return load(name, **{**parameters, **offline})
    except UserError as error:
        return str(error)
