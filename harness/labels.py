"""Every label and symbol of tables, figures, pages and MLflow.

Labels are made here from the columns of rows, and nothing takes one apart again. Within one table, two different
victims or two different attacks never carry the same words: what varies is appended, and in the last resort a digest.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import pandas as pd

from eadbench.harness.messages import printable
from eadbench.harness.numbers import parameter_text
from eadbench.harness.registry import ATTACKS, DEFENSES
from eadbench.models import canonical_json, digest_of

__all__ = [
    "AXES",
    "DATASETS",
    "FIGURES",
    "OWN",
    "Labels",
    "attack_label",
    "crafting_label",
    "dataset_label",
    "defense_label",
    "distinct",
    "family_label",
    "family_of",
    "norm_label",
    "series_of",
    "targets_label",
    "value_text",
    "variants_of",
]

OWN = "the attacked victim"
"""What stands for the victim that examples were crafted on, where victims tested on are listed."""

AXES: Mapping[str, str] = {"beta": "β", "kappa": "κ", "temperature": "T"}
"""Symbols of the axes of the grid."""
FIGURES: Mapping[str, str] = {"asr": "ASR", "l1": "L1", "l2": "L2", "linf": "L∞"}
"""Heads of the figures of a table."""
DATASETS: Mapping[str, str] = {"mnist": "MNIST", "cifar10": "CIFAR10", "imagenet": "ImageNet"}
"""The paper's names of data sets, in the order of its tables."""

_SERIES = ["attack", "norm", "decision_rule", "parameters"]
_LONGEST_VALUE = 24
"""Characters of a hyperparameter's value in a label; a longer one, such as a list of ε, is cut."""


class Victim(Protocol):
    """What a label says of a victim."""

    @property
    def digest(self) -> str: ...
    @property
    def name(self) -> str | None: ...
    @property
    def arch(self) -> str: ...
    @property
    def defense(self) -> str: ...
    @property
    def defense_parameters(self) -> Mapping[str, Any]: ...


def dataset_label(dataset: str) -> str:
    """Return a data set's name as the paper prints it, or as it is."""
    return DATASETS.get(dataset, printable(dataset))


def attack_label(attack: str, norm: str | None = None, decision_rule: str | None = None, *, dash: bool = False) -> str:
    """Return an attack as the paper's tables name it: ``C&W``, ``I-FGM-Linf``, ``EAD (L1)``.

    Parameters
    ----------
    dash
        Join the decision rule by a dash, ``EAD-L1``, as the paper names attacks that adversarial training learns from.
    """
    label = ATTACKS.label(attack) + ("" if _none(norm) else f"-{str(norm).capitalize()}")
    if _none(decision_rule):
        return printable(label)
    rule = str(decision_rule).upper()
    return printable(f"{label}-{rule}" if dash else f"{label} ({rule})")


def defense_label(defense: str, parameters: Mapping[str, Any]) -> str:
    """Return a defence with its parameters: ``no defence``, ``distillation T = 100``, ``adversarial training: C&W``."""
    details = []
    for name, value in parameters.items():
        if name == "attacks" and _are_entries(value):
            details.append(crafting_label(value))
        elif name != "temperature" and value:
            details.append(f"{name} {value_text(value)}")
    label = DEFENSES.label(defense) + (f": {', '.join(details)}" if details else "")
    temperature = parameters.get("temperature")
    return printable(label if temperature is None else f"{label} T = {value_text(temperature)}")


def norm_label(norm: str) -> str:
    """Return a norm as tables print it: ``L1``, ``L∞``."""
    return FIGURES.get(norm, norm.upper())


def targets_label(kind: str, count: int) -> str:
    """Return the targets of each image: ``all 9 targets each``, ``3 random targets each``, ``untargeted``.

    Those of a file: ``targets from targets.csv, 1 per image``.
    """
    if kind == "untargeted":
        return kind
    if kind.startswith("file "):
        return printable(f"targets from {kind.removeprefix('file ')}, {'up to ' if count > 1 else ''}{count} per image")
    first = "all " if kind == "all" and count > 1 else ""
    return f"{first}{count} {'random ' if kind == 'random' else ''}target{'' if count == 1 else 's'} each"


def crafting_label(entries: Iterable[Mapping[str, Any]]) -> str:
    """Return the attacks that a defence learns from, each norm and decision rule by itself: ``EAD-L1 + C&W``."""
    return " + ".join(
        attack_label(entry["name"], norm, rule, dash=True) for entry in entries for norm, rule in variants_of(entry)
    )


def _are_entries(value: object) -> bool:
    """Return whether a defence's parameter is a list of attacks, as a spec has them."""
    return isinstance(value, list) and all(
        isinstance(entry, Mapping) and isinstance(entry.get("name"), str) for entry in value
    )


def variants_of(entry: Mapping[str, Any]) -> list[tuple[str | None, str | None]]:
    """Return every norm and decision rule of an attack's entry in a spec, each None where the attack has none."""
    norms, rules = entry.get("norm"), entry.get("decision_rules", [None])
    return [(norm, rule) for norm in (norms if isinstance(norms, list) else [norms]) for rule in rules]


def series_of(lines: pd.DataFrame) -> "pd.Series[str]":
    """Return what identifies the attack of each line: a digest of all its hyperparameters but β and κ."""
    keys = lines[_SERIES].astype(object).where(lines[_SERIES].notna(), None)
    digests = {key: digest_of(list(key))[:12] for key in dict.fromkeys(keys.itertuples(index=False, name=None))}
    return pd.Series([digests[key] for key in keys.itertuples(index=False, name=None)], index=lines.index, dtype=str)


def family_of(lines: pd.DataFrame) -> "pd.Series[str]":
    """Return what identifies the victim of each line but for its temperature: architecture, defence and parameters."""
    keys = lines[["arch", "defense", "defense_parameters"]].itertuples(index=False, name=None)
    families = [f"{arch}/{defense}/{canonical_json(_without_temperature(text))}" for arch, defense, text in keys]
    return pd.Series(families, index=lines.index, dtype=str)


def family_label(line: Mapping[Any, Any]) -> str:
    """Return the defence of a line's victim without its temperature."""
    return defense_label(line["defense"], _without_temperature(line["defense_parameters"]))


def _without_temperature(parameters: object) -> dict[str, Any]:
    return {name: value for name, value in _parsed(parameters).items() if name != "temperature"}


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The labels of the victims and attacks of one or more sweeps.

    Parameters
    ----------
    lines
        Lines of a summary, or the settings of lines: the columns ``attack``, ``norm``, ``decision_rule``,
        ``parameters``, ``beta``, ``kappa``.
    victims
        The victims attacked or tested on, in the order of the spec.
    """

    lines: pd.DataFrame
    victims: Sequence[Victim]

    @classmethod
    def of_victims(cls, victims: Sequence[Victim]) -> "Labels":
        """Return the labels of victims alone."""
        return cls(lines=pd.DataFrame(columns=_SERIES), victims=victims)

    @cached_property
    def series(self) -> Mapping[str, str]:
        """The label of every attack by its series: ``EAD (L1)``.

        Hyperparameters that vary within the sweep for this attack and norm are appended.
        """
        attacks = self.lines[_SERIES].assign(series=series_of(self.lines)).drop_duplicates("series")
        labels = dict.fromkeys(attacks["series"], "")  # in the order of the lines
        for _, part in attacks.groupby(["attack", "norm"], sort=False, dropna=False):
            parameters = [_parsed(text) for text in part["parameters"]]
            varying = _varying(parameters)
            texts = {name: _text_of([values.get(name) for values in parameters]) for name in varying}
            for line, values in zip(part.to_dict("records"), parameters, strict=True):
                label = attack_label(line["attack"], line["norm"], line["decision_rule"])
                details = [printable(f"{name} {texts[name](values[name])}") for name in varying if name in values]
                labels[line["series"]] = ", ".join([label, *details])
        return distinct(labels)

    @cached_property
    def victim(self) -> Mapping[str, str]:
        """The label of every victim by its digest: its name, or ``cw_mnist, distillation T = 100``."""
        return distinct({digest: victim.label for digest, victim in self._victims.items()})

    @cached_property
    def victim_details(self) -> Mapping[str, str]:
        """The architecture and the defence of every victim by its digest, behind its name if it has one."""
        return distinct({digest: ", ".join([*victim.names, *victim.parts]) for digest, victim in self._victims.items()})

    @cached_property
    def defense(self) -> Mapping[str, str]:
        """The defence of every victim by its digest, with its parameters."""
        return {digest: victim.parts[-1] for digest, victim in self._victims.items()}

    def short_victims(self, digests: Iterable[str]) -> dict[str, str]:
        """Return the labels of some victims without the words that all of them share."""
        wanted = list(dict.fromkeys(digests))
        victims = [self._victims[digest] for digest in wanted if digest in self._victims]
        words = {victim.digest: victim.names or victim.parts for victim in victims}
        if len(victims) > 1 and not any(victim.names for victim in victims):
            shared = set.intersection(*map(set, words.values()))
            own = {digest: [part for part in parts if part not in shared] for digest, parts in words.items()}
            words = {digest: own[digest] or parts[-1:] for digest, parts in words.items()}
        labels = distinct({digest: ", ".join(parts) for digest, parts in words.items()})
        return {digest: labels.get(digest, digest) for digest in wanted}

    @cached_property
    def _victims(self) -> Mapping[str, "_Victim"]:
        """The given victims, and then the other victims that lines name."""
        known = {victim.digest: _Victim.of(victim) for victim in self.victims}
        if "arch" in self.lines:
            for line in self.lines.drop_duplicates("model").to_dict("records"):
                if line["model"] not in known:
                    defense = defense_label(line["defense"], _parsed(line["defense_parameters"]))
                    known[line["model"]] = _Victim(
                        digest=line["model"], names=[], parts=[printable(line["arch"]), defense]
                    )
        return known

    def setting(self, line: Mapping[Any, Any]) -> str:
        """Return the label of a line's attack with its β and κ: ``EAD (L1), β = 1e-3, κ = 0``."""
        texts = ((AXES[name], parameter_text(line[name])) for name in ("beta", "kappa"))
        return ", ".join([self.series[line["series"]], *(f"{symbol} = {text}" for symbol, text in texts if text)])


@dataclass(frozen=True, kw_only=True)
class _Victim:
    """The words of a victim's label: its name, if it has one, and its architecture and defence."""

    digest: str
    names: Sequence[str]
    parts: Sequence[str]

    @classmethod
    def of(cls, victim: Victim) -> "_Victim":
        parts = [printable(victim.arch), defense_label(victim.defense, victim.defense_parameters)]
        return cls(digest=victim.digest, names=[printable(victim.name)] if victim.name else [], parts=parts)

    @property
    def label(self) -> str:
        return ", ".join(self.names or self.parts)


def distinct(labels: Mapping[str, str]) -> dict[str, str]:
    """Append the first digits of its digest to every label that two digests share."""
    count = Counter(labels.values())
    shared = [digest for digest, label in labels.items() if count[label] > 1]
    digits = 6
    while len({digest[:digits] for digest in shared}) < len(shared):
        digits += 1
    return {digest: f"{label} ({digest[:digits]})" if digest in shared else label for digest, label in labels.items()}


def _varying(parameters: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the hyperparameters in which mappings differ."""
    names = dict.fromkeys(name for each in parameters for name in each)
    return [name for name in names if len({canonical_json(each.get(name)) for each in parameters}) > 1]


def _text_of(values: Sequence[object]) -> Callable[[object], str]:
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


def _parsed(parameters: object) -> dict[str, Any]:
    return {} if _none(parameters) else dict(json.loads(str(parameters)))


def value_text(value: object) -> str:
    """Return the value of a hyperparameter, a long one without its end."""
    text = parameter_text(value) if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def _none(value: object) -> bool:
    """Return whether a column has no value: None, NaN or NA."""
    return value is None or bool(pd.isna(value))  # type: ignore[call-overload]
