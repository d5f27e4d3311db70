"""From the labels that a data set holds, numbers or texts, to classes 0..K-1 and their names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from eadbench.harness.datasets.data_set import numbered
from eadbench.harness.errors import UserError
from eadbench.harness.messages import shown

__all__ = ["Classes", "LabelRule", "RawLabels", "changes_of", "classes_of"]

RawLabels = Sequence[int] | Sequence[str] | Tensor
"""Labels as a file holds them: numbers from 0, or names of classes."""

LabelRule = Literal["keep", "remap"]
"""Keep numbers as they are, or number the classes that occur 0..K-1."""


def changes_of(rule: LabelRule) -> dict[str, object]:
    """Return the rule as the identity of a data set holds it: nothing for the default."""
    return {} if rule == "keep" else {"labels": rule}


@dataclass(frozen=True, kw_only=True)
class Classes:
    """The classes of a data set.

    Parameters
    ----------
    names
        K names.
    labels
        For each split, int64 (N,) in 0..K-1.
    """

    names: tuple[str, ...]
    labels: tuple[Tensor, ...]


def classes_of(
    splits: Sequence[RawLabels], names: tuple[str, ...] | None = None, *, rule: LabelRule = "keep", where: str
) -> Classes:
    """Return the classes that labels name.

    Texts become classes in sorted order. Numbers are the classes themselves, or with the rule "remap" become 0..K-1 in
    sorted order. A class that has a name may have no image; `DataSet.empty_classes` tells which.

    Parameters
    ----------
    splits
        The labels of each split.
    names
        Names of the classes 0..K-1, if the data set declares them.
    where
        What messages call the data set.

    Raises
    ------
    UserError
        Labels are of mixed kinds, are negative, have no name, or leave classes without a name and an image.
    """
    texts = [labels for labels in splits if len(labels) and isinstance(labels[0], str)]
    if texts:
        return _named(splits, where)
    numbers = [_numbers(labels, where) for labels in splits]
    occurring = np.unique(np.concatenate(numbers))
    highest = int(occurring.max(initial=-1))
    if names is not None and highest >= len(names):
        raise UserError(f"{where}: label {highest} is not among the {len(names)} named classes")
    if rule == "remap":
        names = tuple(names[label] if names else str(label) for label in occurring.tolist())
        numbers = [np.searchsorted(occurring, labels) for labels in numbers]
    elif names is None:
        _check_gaps(occurring, where)
        names = numbered(len(occurring))
    return Classes(names=names, labels=tuple(torch.from_numpy(labels) for labels in numbers))


def _named(splits: Sequence[RawLabels], where: str) -> Classes:
    """Return the classes that texts name."""
    texts: list[list[Any]] = [list(labels) for labels in splits]
    if not all(isinstance(text, str) for labels in texts for text in labels):
        raise UserError(f"{where}: some labels are texts and some are not; write all of them in one way")
    names = tuple(sorted(set().union(*texts)))
    number = {name: label for label, name in enumerate(names)}
    labels = tuple(torch.tensor([number[text] for text in labels], dtype=torch.int64) for labels in texts)
    return Classes(names=names, labels=labels)


def _numbers(labels: RawLabels, where: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return labels as int64 (N,)."""
    given = labels.numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if given.ndim != 1 or (len(given) and given.dtype.kind not in "iu"):
        raise UserError(f"{where}: labels must be class indices from 0, or texts; got {shown(labels[0])}")
    if len(given) and (given.min() < 0 or given.max() >= 2**63):
        outside = given.min() if given.min() < 0 else given.max()
        raise UserError(f"{where}: labels must be class indices from 0, got {outside}")
    return given.astype(np.int64)


def _check_gaps(occurring: np.ndarray[Any, np.dtype[np.int64]], where: str) -> None:
    """Refuse classes below the highest label that have no image and no name."""
    count = len(occurring)
    if not count or occurring[-1] == count - 1:
        return
    gap = int((occurring != np.arange(count)).argmax())  # the first class without an image
    shown_labels = ", ".join(map(str, occurring[:5].tolist())) + (", …" if count > 5 else "")
    raise UserError(
        f"{where}: no image has the label {gap}, while labels reach {occurring[-1]} (they are {shown_labels}); "
        f"give labels: remap to number the {count} that occur 0..{count - 1}"
    )
