"""Figures, parameters and defences as tables, curves and reports write them."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import compress
from typing import Protocol

NO_VALUE = "\N{EN DASH}"
OWN = "the attacked victim"
"""What `tested` says of examples that were not tested on another victim."""


class Victim(Protocol):
    """What names a victim."""

    @property
    def digest(self) -> str: ...
    @property
    def arch(self) -> str: ...
    @property
    def defense(self) -> str: ...
    @property
    def temperature(self) -> float | None: ...


def figure_text(value: float) -> str:
    """Format a distortion as the paper does: 4 significant digits, at most 3 decimals (22.46, 1.972, 0.514).

    Below 0.001, where that would read as 0, one digit is kept; NaN is an en dash.
    """
    if math.isnan(value):
        return NO_VALUE
    exponent = math.floor(math.log10(value)) if value > 0 else 0
    decimals = 3 - exponent if exponent >= 0 else max(3, -exponent)
    text = f"{round(value, decimals):.{max(decimals, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def rate_text(value: float) -> str:
    """Format an ASR in percent as the paper does: one decimal, none if it is 0 (100, 99.9)."""
    return f"{value:.1f}".removesuffix(".0")


def defense_text(defense: str, temperature: float | None) -> str:
    """Format a defence: ``no defence``, ``distillation T = 100``."""
    text = "no defence" if defense == "none" else str(defense).replace("_", " ")
    return text if temperature is None or math.isnan(temperature) else f"{text} T = {temperature:g}"


def parameter_text(value: float) -> str:
    """Format beta or kappa: small ones as the paper's powers of ten (1e-3, 5e-5); empty for none."""
    if math.isnan(value):
        return ""
    if value == 0 or value >= 0.1:
        return f"{value:g}"
    mantissa, exponent = f"{value:e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def victim_names(victims: Sequence[Victim]) -> dict[str, str]:
    """By digest, a name that no other of the victims has: ``cw_mnist, distillation T = 100``."""
    names = {victim.digest: f"{victim.arch}, {defense_text(victim.defense, victim.temperature)}" for victim in victims}
    count = Counter(names.values())
    return {digest: name if count[name] == 1 else f"{name} ({digest[:6]})" for digest, name in names.items()}


def told_apart(victims: Sequence[str]) -> list[str]:
    """Victims' names without the parts that all of them share; a single kind of victim keeps its name."""
    parts = [victim.split(", ") for victim in victims]
    if len(set(victims)) < 2 or len({len(part) for part in parts}) != 1:
        return list(victims)
    differing = [len(set(column)) > 1 for column in zip(*parts, strict=True)]
    return [", ".join(compress(part, differing)) for part in parts]


def series_name(attack: str, rule: str) -> str:
    """An attack with its decision rule: ``EAD (L1)``."""
    return f"{attack} ({rule})" if rule else attack


def setting_text(series: str, beta: str, kappa: str) -> str:
    """An attack with its parameters, those that it has: ``C&W, κ = 0``."""
    parameters = [f"{symbol} = {text}" for symbol, text in (("β", beta), ("κ", kappa)) if text]
    return ", ".join([series, *parameters])
