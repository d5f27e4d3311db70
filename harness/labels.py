"""Every label and symbol of tables, figures, pages and MLflow.

Labels are made here from the columns of rows, and nothing takes one apart again. Within one table, two different
victims or two different attacks never carry the same words: what varies is appended, and in the last resort a digest.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import pandas as pd

from eadbench.harness.label_parts import (
    TARGETS,
    Attack,
    distinct,
    missing,
    parsed,
    text_of,
    value_text,
    varying_names,
    with_targets,
)
from eadbench.harness.messages import printable
from eadbench.harness.numbers import parameter_text
from eadbench.harness.registry import ATTACKS, DEFENSES, DETECTORS
from eadbench.models import canonical_json, digest_of

__all__ = [
    "AXES",
    "DATASETS",
    "FIGURES",
    "OWN",
    "Labels",
    "attack_label",
    "choice_text",
    "crafting_label",
    "dataset_label",
    "defense_label",
    "detector_labels",
    "distinct",
    "family_label",
    "family_of",
    "norm_label",
    "series_of",
    "targets_label",
    "value_text",
    "variants_of",
    "varying_names",
]

OWN = "the attacked victim"
"""What stands for the victim that examples were crafted on, where victims tested on are listed."""

AXES: Mapping[str, str] = {"beta": "β", "kappa": "κ", "temperature": "T"}
"""Symbols of the axes of the grid."""
FIGURES: Mapping[str, str] = {"asr": "ASR", "l1": "L1", "l2": "L2", "linf": "L∞"}
"""Heads of the figures of a table."""
DATASETS: Mapping[str, str] = {"mnist": "MNIST", "cifar10": "CIFAR10", "imagenet": "ImageNet"}
"""The paper's names of data sets, in the order of its tables."""

_SERIES = ["attack", "norm", "decision_rule", "parameters", TARGETS]


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
    @property
    def training(self) -> Mapping[str, Any]: ...


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
    label = ATTACKS.label(attack) + ("" if missing(norm) else f"-{str(norm).capitalize()}")
    if missing(decision_rule):
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


def detector_labels(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the label of each detector by its digest, with the parameters in which those of one name differ."""
    labels = {}
    for digest, entry in entries.items():
        alike = varying_names([each for each in entries.values() if each.get("name") == entry.get("name")])
        details = [f"{name} {value_text(entry[name])}" for name in alike if entry.get(name) is not None]
        labels[digest] = printable(", ".join([DETECTORS.label(str(entry.get("name"))), *details]))
    return distinct(labels)


def norm_label(norm: str) -> str:
    """Return a norm as tables print it: ``L1``, ``L∞``."""
    return FIGURES.get(norm, norm.upper())


def choice_text(choice: str | Mapping[str, Any]) -> str:
    """Return how a cell's target classes are chosen: ``all``, ``untargeted``, ``random 3``, ``file DIGEST``."""
    return choice if isinstance(choice, str) else " ".join(map(str, next(iter(choice.items()))))


def targets_label(kind: str, count: int) -> str:
    """Return the targets of each image: ``all 9 targets each``, ``3 random targets each``, ``untargeted``.

    Those of a file: ``targets from targets.csv, 1 per image``. The kind is that of a line: ``all``, ``random 3``,
    ``untargeted``, ``file targets.csv``.
    """
    if kind == "untargeted":
        return kind
    if kind.startswith("file "):
        return printable(f"targets from {kind.removeprefix('file ')}, {'up to ' if count > 1 else ''}{count} per image")
    first = "all " if kind == "all" and count > 1 else ""
    return f"{first}{count} {'random ' if kind.startswith('random') else ''}target{'' if count == 1 else 's'} each"


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
    """Return what identifies the attack of each line: a digest of all its hyperparameters but β and κ.

    How target classes are chosen counts, if the lines have a column of it.
    """
    names = [name for name in _SERIES if name in lines]
    keys = lines[names].astype(object).where(lines[names].notna(), None)
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
    return {name: value for name, value in parsed(parameters).items() if name != "temperature"}


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

        Hyperparameters that vary within the sweep for this attack and norm are appended, and the detector that an
        adaptive attack knows.
        """
        return distinct({series: attack.label for series, attack in self.attacks.items()})

    @cached_property
    def attacks(self) -> Mapping[str, "Attack"]:
        """The words of every attack's label by its series."""
        lines = self.lines if "series" in self.lines else self.lines.assign(series=series_of(self.lines))
        lines = lines.drop_duplicates("series")
        several = TARGETS in lines and lines[TARGETS].nunique() > 1
        attacks = dict[str, Attack]()
        for _, part in lines.groupby(["attack", "norm"], sort=False, dropna=False):
            parameters = [parsed(text) for text in part["parameters"]]
            if several:
                parameters = [with_targets(*each) for each in zip(parameters, part[TARGETS], strict=True)]
            varying = varying_names(parameters)
            if several:  # in the words of every attack, those too that run with one choice alone
                varying = list(dict.fromkeys([TARGETS, *varying]))
            if any("adaptive" in values for values in parameters):  # alone it would pass for the attack as published
                varying = list(dict.fromkeys([*varying, "adaptive"]))
            texts = {name: text_of([values.get(name) for values in parameters]) for name in varying}
            for line, values in zip(part.to_dict("records"), parameters, strict=True):
                attacks[line["series"]] = Attack(
                    name=attack_label(line["attack"], line["norm"], line["decision_rule"]),
                    details={name: printable(texts[name](values[name])) for name in varying if name in values},
                    lists=frozenset(name for name in varying if isinstance(values.get(name), list | dict)),
                )
        return {series: attacks[series] for series in lines["series"]}  # in the order of the lines

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
        return {digest: victim.parts[1] for digest, victim in self._victims.items()}

    def siblings(self, groups: Mapping[str, Sequence[Victim]]) -> dict[str, str]:
        """Return the labels of groups of victims that differ in the seed of their training alone, by group."""
        training = _training_texts(self.victims, but=("seed",))
        words = {group: _Victim.of(victims[0], training[victims[0].digest]).parts for group, victims in groups.items()}
        return distinct({group: ", ".join(parts) for group, parts in words.items()})

    def short_victims(self, digests: Iterable[str]) -> dict[str, str]:
        """Return the labels of some victims without the words that all of them share."""
        wanted = list(dict.fromkeys(digests))
        victims = [self._victims[digest] for digest in wanted if digest in self._victims]
        words = {victim.digest: victim.names or victim.parts for victim in victims}
        unnamed = {victim.digest: victim.parts for victim in victims if not victim.names}
        if len(unnamed) > 1:
            shared = set.intersection(*map(set, unnamed.values()))
            own = {digest: [part for part in parts if part not in shared] for digest, parts in unnamed.items()}
            words |= {digest: own[digest] or parts[-1:] for digest, parts in unnamed.items()}
        labels = distinct({digest: ", ".join(parts) for digest, parts in words.items()})
        return {digest: labels.get(digest, digest) for digest in wanted}

    @cached_property
    def _victims(self) -> Mapping[str, "_Victim"]:
        """The given victims, and then the other victims that lines name."""
        training = _training_texts(self.victims)
        known = {victim.digest: _Victim.of(victim, training[victim.digest]) for victim in self.victims}
        if "arch" in self.lines:
            for line in self.lines.drop_duplicates("model").to_dict("records"):
                if line["model"] not in known:
                    defense = defense_label(line["defense"], parsed(line["defense_parameters"]))
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
    """The words of a victim's label: its name, its architecture and defence, and what varies in training."""

    digest: str
    names: Sequence[str]
    parts: Sequence[str]

    @classmethod
    def of(cls, victim: Victim, training: Sequence[str]) -> "_Victim":
        parts = [printable(victim.arch), defense_label(victim.defense, victim.defense_parameters), *training]
        return cls(digest=victim.digest, names=[printable(victim.name)] if victim.name else [], parts=parts)

    @property
    def label(self) -> str:
        return ", ".join(self.names or self.parts)


def _training_texts(victims: Sequence[Victim], but: Sequence[str] = ()) -> dict[str, list[str]]:
    """Return the fields of each victim's training in which victims of its architecture and defence differ: ``seed 2``.

    The fields `but` are left out.
    """
    alike: dict[tuple[str, str], list[Victim]] = {}
    for victim in victims:
        alike.setdefault((victim.arch, defense_label(victim.defense, victim.defense_parameters)), []).append(victim)
    texts: dict[str, list[str]] = {}
    for group in alike.values():
        names = varying_names([victim.training for victim in group if victim.training])
        for victim in group:
            values = {name: victim.training[name] for name in names if name in victim.training and name not in but}
            texts[victim.digest] = [
                printable(f"{name.replace('_', ' ')} {value_text(values[name])}") for name in values
            ]
    return texts
