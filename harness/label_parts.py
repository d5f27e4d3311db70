"""Parts of labels: an attack's words, what varies, and texts of values."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from eadbench.harness.messages import printable
from eadbench.harness.numbers import parameter_text
from eadbench.models import canonical_json

__all__ = [
    "TARGETS",
    "Attack",
    "distinct",
    "missing",
    "parsed",
    "text_of",
    "value_text",
    "varying_names",
    "with_targets",
]

TARGETS = "targets"
"""How the target classes of a line are chosen: the hyperparameter of a sweep, and the column of lines."""
_LONGEST_VALUE = 24
"""Characters of a hyperparameter's value in a label; a longer one, such as a list of ε, is cut."""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """The words of an attack's label."""

    name: str
    """Its name, norm and decision rule."""
    details: Mapping[str, str]
    """Its hyperparameters that vary within the sweep."""
    lists: frozenset[str]
    """Those of them that are lists."""

    @property
    def label(self) -> str:
        """All of them: ``EAD (L1), max_iterations 100``."""
        return self.without(())

    def without(self, names: Collection[str]) -> str:
        """Return the label without some hyperparameters, which stand in columns of their own."""
        details = [printable(_words(name, text)) for name, text in self.details.items() if name not in names]
        return ", ".join([self.name, *details])


def distinct(labels: Mapping[str, str]) -> dict[str, str]:
    """Append the first digits of its digest to every label that two digests share."""
    count = Counter(labels.values())
    shared = [digest for digest, label in labels.items() if count[label] > 1]
    digits = 6
    while len({digest[:digits] for digest in shared}) < len(shared):
        digits += 1
    return {digest: f"{label} ({digest[:digits]})" if digest in shared else label for digest, label in labels.items()}


def _words(name: str, text: str) -> str:
    return text if (name, text) == (TARGETS, "untargeted") else f"{name} {text}"


def with_targets(parameters: Mapping[str, Any], targets: str) -> dict[str, Any]:
    """Return an attack's hyperparameters and how the sweep chooses its target classes, which says whether it aims.

    A hyperparameter of that name is the attack's own number of targets.
    """
    own = {f"own {name}" if name == TARGETS else name: value for name, value in parameters.items()}
    own.pop("targeted", None)
    return {TARGETS: targets, **own}


def varying_names(parameters: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the hyperparameters in which mappings differ."""
    names = dict.fromkeys(name for each in parameters for name in each)
    return [name for name in names if len({canonical_json(each.get(name)) for each in parameters}) > 1]


def text_of(values: Sequence[object]) -> Callable[[object], str]:
    """Return what makes texts of the values of a hyperparameter: lists from where they differ, if they are long."""
    lists = [value for value in values if isinstance(value, list)]
    texts = {canonical_json(value): value_text(value) for value in values}
    if len(lists) < len(values) or len(set(texts.values())) == len(texts):
        return value_text
    items = enumerate(zip(*lists, strict=False))
    shared = next((i for i, each in items if any(item != each[0] for item in each)), min(map(len, lists)))

    def rest(value: object) -> str:
        items = value[shared:] if isinstance(value, list) else []
        return value_text(f"[…, {str(items).removeprefix('[')}" if items else "[…]")

    return rest


def parsed(parameters: object) -> dict[str, Any]:
    return {} if missing(parameters) else dict(json.loads(str(parameters)))


def value_text(value: object) -> str:
    """Return the value of a hyperparameter, a long one without its end."""
    if isinstance(value, Mapping) and "name" in value:  # an entry of a spec
        value = value["name"]
    text = parameter_text(value) if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def missing(value: object) -> bool:
    """Return whether a column has no value: None, NaN or NA."""
    return value is None or bool(pd.isna(value))  # type: ignore[call-overload]
