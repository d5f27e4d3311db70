"""What an attack is: the protocol of every entry of a spec's `attacks`, ours and others' alike.

Shapes: N images, C channels, H × W pixels.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from eadbench.attacks.distances import NORMS as KNOWN_NORMS
from eadbench.attacks.engine.declaration import MISSING, dataclass_breaches, member, unknown_fields, wrong_names
from eadbench.attacks.result import AttackResult

BATCH_SIZE = 128
"""Rows attacked at a time, unless the caller gives another number."""


class Attack(Protocol):
    """A frozen keyword-only dataclass of hyperparameters, called on a model, images and labels.

    Inherit from this class for the defaults below, or write a class with the same members. A spec names either by its
    import path, ``package.module:MyAttack``; :func:`breaches` says what is missing, and ``eadbench check`` runs the
    contract suite.

    Attributes
    ----------
    LABEL : str
        The name in tables and figures; the class's name by default.
    AXES : tuple of str
        Hyperparameters that a spec may give as lists; the grid is their product.
    RULES : tuple of str
        Decision rules, the keys of the result. Without any, the result has a single key of the attack's choice.
    DEFAULT_RULES : tuple of str
        The rules that a sweep reports unless its spec chooses others; RULES by default.
    NORMS : tuple of "l0", "l1", "l2", "linf"
        Norms that the attack minimises. A field called `norm` picks one of them.
    TOLERANCE : float or mapping of norm to float
        How far the distance to a half-space may exceed the least possible one, relatively, under CHECKED_WITH.
    TARGETED, UNTARGETED : bool
        The modes that the attack supports; it refuses the other one with a ValueError when it is built.
    CHECKED_WITH : mapping of str to value
        Hyperparameters with which the contract suite runs the class, so that this takes seconds.
    targeted : bool
        A field: whether labels are classes to reach, or classes to leave.
    """

    LABEL: ClassVar[str]
    AXES: ClassVar[tuple[str, ...]] = ()
    RULES: ClassVar[tuple[str, ...]] = ()
    DEFAULT_RULES: ClassVar[tuple[str, ...]]
    NORMS: ClassVar[tuple[str, ...]] = ()
    TOLERANCE: ClassVar[float | Mapping[str, float]] = 0.05
    TARGETED: ClassVar[bool] = True
    UNTARGETED: ClassVar[bool] = True
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {}

    targeted: bool

    @property
    def most_passes(self) -> int:
        """An upper bound of one example's passes, forward and backward, through a model in its own precision."""
        ...

    def __call__(
        self, model: nn.Module, images: Tensor, labels: Tensor, /, *, batch_size: int = BATCH_SIZE
    ) -> AttackResult:
        """Attack every image.

        Parameters
        ----------
        model : nn.Module
            Maps images (N, C, H, W) in [0, 1] to logits (N, K).
        images : Tensor
            (N, C, H, W) in [0, 1].
        labels : Tensor
            (N,) integers: target classes if `targeted`, else true classes.
        batch_size : int
            The most rows that pass through the model at a time.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What an attack's class declares, with the defaults of :class:`Attack` filled in."""

    label: str
    axes: tuple[str, ...]
    rules: tuple[str, ...]
    default_rules: tuple[str, ...]
    norms: tuple[str, ...]
    tolerance: Mapping[str, float]
    targeted: bool
    untargeted: bool
    checked_with: Mapping[str, Any]


def traits_of(attack: type) -> Traits:
    """Read the declarations of an attack's class, which need not inherit from :class:`Attack`."""

    def declared(name: str) -> Any:
        return getattr(attack, name, getattr(Attack, name))

    tolerance = declared("TOLERANCE")
    norms = declared("NORMS")
    return Traits(
        label=getattr(attack, "LABEL", attack.__name__),
        axes=declared("AXES"),
        rules=declared("RULES"),
        default_rules=getattr(attack, "DEFAULT_RULES", declared("RULES")),
        norms=norms,
        tolerance=tolerance if isinstance(tolerance, Mapping) else dict.fromkeys(norms, tolerance),
        targeted=bool(declared("TARGETED")),
        untargeted=bool(declared("UNTARGETED")),
        checked_with=declared("CHECKED_WITH"),
    )


def breaches(attack: object) -> list[str]:
    """List how a class breaks the protocol, one line each, without running it.

    Each line reads well behind the name of the class: ``must be frozen: write @dataclass(frozen=True, kw_only=True)``.
    """
    problems = dataclass_breaches(attack)
    if not isinstance(attack, type) or problems:
        return problems
    if unknown_fields(attack, ["targeted"]):
        problems.append("must have a field `targeted: bool`")
    if member(attack, "most_passes") in (MISSING, vars(Attack)["most_passes"]):
        problems.append("must have a property `most_passes`: an upper bound of the passes of one example")
    problems += _call_breaches(attack)

    wrong = {
        name: line
        for name in ("AXES", "RULES", "DEFAULT_RULES", "NORMS")
        if (line := wrong_names(attack, name, f"must declare {name}")) is not None
    }
    problems += wrong.values()
    label = getattr(attack, "LABEL", "text")
    if not isinstance(label, str) or not label.strip():
        problems.append(f"must declare LABEL as text, got {label!r}")
    modes = {name: getattr(attack, name, True) for name in ("TARGETED", "UNTARGETED")}
    problems += [
        f"must declare {name} as True or False, got {mode!r}"
        for name, mode in modes.items()
        if mode not in (True, False)
    ]
    traits = traits_of(attack)
    if "AXES" not in wrong and (unknown := unknown_fields(attack, traits.axes)):
        problems.append(f"must name its own fields in AXES, got {', '.join(unknown)}")
    elif "AXES" not in wrong and ("targeted" in traits.axes or len(set(traits.axes)) < len(traits.axes)):
        problems.append(f"must name each field once in AXES, without `targeted`, got {', '.join(traits.axes)}")
    if not {"RULES", "DEFAULT_RULES"} & wrong.keys():
        problems += _rule_breaches(traits)
    if "NORMS" not in wrong and (unknown := [norm for norm in traits.norms if norm not in KNOWN_NORMS]):
        problems.append(f"must choose its NORMS from {', '.join(KNOWN_NORMS)}, got {', '.join(unknown)}")
    elif "NORMS" not in wrong and (missing := [norm for norm in traits.norms if norm not in traits.tolerance]):
        problems.append(f"must declare TOLERANCE as a number, or for each of NORMS; {', '.join(missing)} is missing")
    if not (traits.targeted or traits.untargeted):
        problems.append("must support a mode: TARGETED or UNTARGETED must be True")
    return problems


def instance_breaches(attack: object) -> list[str]:
    """List how an attack with its hyperparameters breaks the protocol, one line each."""
    passes = getattr(attack, "most_passes", None)
    if not isinstance(passes, int) or isinstance(passes, bool) or passes < 1:
        return [f"must have a property `most_passes`, a whole number of at least 1, got {passes!r}"]
    traits = traits_of(type(attack))
    norm = getattr(attack, "norm", None)
    if traits.norms and norm is not None and norm not in traits.norms:
        return [f"minimises {', '.join(traits.norms)} (its NORMS), not norm {norm!r}"]
    return []


def _call_breaches(attack: type) -> list[str]:
    """Check that an instance can be called as the harness calls it."""
    call = member(attack, "__call__")
    if call in (MISSING, vars(Attack)["__call__"]):
        return ["must be callable: define __call__(self, model, images, labels, *, batch_size)"]
    try:
        inspect.signature(call).bind("self", "model", "images", "labels", batch_size=1)
    except TypeError as error:
        return [f"must take attack(model, images, labels, batch_size=1): {error}"]
    return []


def _rule_breaches(traits: Traits) -> list[str]:
    """Check the decision rules that are on by default."""
    if unknown := [rule for rule in traits.default_rules if rule not in traits.rules]:
        return [f"must choose its DEFAULT_RULES from its RULES, got {', '.join(unknown)}"]
    if traits.rules and not traits.default_rules:
        return ["must have at least one of its RULES on by default, got DEFAULT_RULES = ()"]
    return []
