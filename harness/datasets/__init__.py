"""Data sets by name: images in [0, 1] and labels, in a train and a test split."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from eadbench.harness.datasets.arrays import tensors
from eadbench.harness.datasets.builtin import cifar10, digits, mnist
from eadbench.harness.datasets.data_set import DataSet, Split, gather
from eadbench.harness.datasets.hub import hf
from eadbench.harness.datasets.own import folder, parquet
from eadbench.harness.datasets.tars import webdataset
from eadbench.harness.datasets.torchvision_sets import torchvision_set
from eadbench.harness.errors import UserError
from eadbench.harness.messages import one_line
from eadbench.harness.places import refuse_elsewhere
from eadbench.harness.registry import Registry

__all__ = ["DATASETS", "DataSet", "Split", "at_hand", "gather", "load"]

SAMPLED = 8
"""Images of each split of a data set of the user's own that are checked when it is loaded."""


@dataclass(frozen=True)
class DataSets(Registry):
    """The data sets by name.

    Parameters
    ----------
    prefixes
        By what stands before a colon, such as `torchvision:SVHN`: a function from the rest of the name to a loader.
    """

    prefixes: Mapping[str, Callable[[str], Callable[..., DataSet]]]

    def look_up(self, name: object) -> Any:
        """Return the loader called `name`, one of a library after its prefix, or the one at an import path."""
        if self.is_own(name):
            return super().look_up(name)
        prefix, _, rest = str(name).partition(":")
        return self.prefixes[prefix](rest) if prefix in self.prefixes else super().look_up(name)

    def is_own(self, name: object) -> bool:
        """Return whether a name is an import path of the user's own code."""
        return super().is_own(name) and str(name).partition(":")[0] not in self.prefixes


DATASETS = DataSets(
    "data set",
    {
        "mnist": mnist,
        "cifar10": cifar10,
        "digits": digits,
        "parquet": parquet,
        "folder": folder,
        "tensors": tensors,
        "webdataset": webdataset,
        "hf": hf,
    },
    {},
    {"torchvision": torchvision_set},
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
        for key in ("path", "root"):
            if isinstance(parameters.get(key), str):
                refuse_elsewhere(parameters[key], key)
        data = loader(**parameters)
        if DATASETS.is_own(name):
            _check_own(data, name)
    except UserError as error:
        raise type(error)(f"dataset: {error}") from error
    except Exception as error:
        if not DATASETS.is_own(name):
            raise
        raise UserError(f"dataset: {name} failed with {type(error).__name__}: {one_line(error)}") from error
    return data


def _check_own(data: object, name: str) -> None:
    """Check what the user's own code returned, on images that are spread over both splits."""
    if not isinstance(data, DataSet):
        raise UserError(f"{name} must return an eadbench.harness.datasets.DataSet, got {type(data).__name__}")
    for split in (data.train, data.test):
        count = min(SAMPLED, len(split))
        split.images([index * len(split) // count for index in range(count)])


def at_hand(name: str, parameters: Mapping[str, Any], *, allow_code: bool = False) -> DataSet | str:
    """Load a data set from this machine, without a download and, unless `allow_code`, without code of the user's own.

    If that fails, return the reason.
    """
    if DATASETS.is_own(name) and not allow_code:
        return f"data set {name} is code, which is not imported to look at results; --allow-code imports it"
    offline = {"download": False} if "download" in parameters else {}
    try:
        return load(name, **{**parameters, **offline})
    except UserError as error:
        return str(error)
