"""The protocol of attacks: what a class must declare, and the defaults of what it need not."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from eadbench.attacks import ATTACKS, Attack, breaches, traits_of


@dataclass(frozen=True, kw_only=True)
class Inherited(Attack):
    """Has what cannot be left out."""

    epsilon: float = 0.1
    norm: str = "l2"
    targeted: bool = True

    @property
    def most_passes(self) -> int:
        return 2

    def __call__(self, model: Any, images: Any, labels: Any, /, *, batch_size: int = 8) -> Any:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class DuckTyped:
    """Inherits nothing; its `most_passes` is a class variable."""

    most_passes: ClassVar[int] = 2
    targeted: bool = True

    def __call__(self, model: Any, images: Any, targets: Any, *, batch_size: int) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("attack", [Inherited, DuckTyped, *ATTACKS.values()])
def test_a_class_that_keeps_the_protocol(attack: Any) -> None:
    assert breaches(attack) == []


@pytest.mark.parametrize("attack", [Inherited, DuckTyped])
def test_defaults_of_what_a_class_does_not_declare(attack: type) -> None:
    traits = traits_of(attack)
    assert traits.label == attack.__name__
    assert (traits.axes, traits.rules, traits.default_rules, traits.norms) == ((), (), (), ())
    assert (traits.targeted, traits.untargeted, dict(traits.checked_with)) == (True, True, {})


def test_rules_are_on_by_default_and_one_tolerance_serves_every_norm() -> None:
    class Declared(Inherited):
        RULES = ("l1", "l2")
        NORMS = ("l1", "linf")
        TOLERANCE = 0.2

    assert traits_of(Declared).default_rules == ("l1", "l2")
    assert traits_of(Declared).tolerance == {"l1": 0.2, "linf": 0.2}


def test_attacks_declare_themselves() -> None:
    traits = {name: traits_of(attack) for name, attack in dict[str, Any](ATTACKS).items()}
    assert [each.label for each in traits.values()] == [
        "C&W",
        "FGM",
        "I-FGM",
        "COV",
        "EAD",
        "DDN",
        "ALMA",
        "FMN",
        "PDPGD",
        "σ-zero",
        "DeepFool",
        "SuperDeepFool",
        "FAB",
        "APGD",
        "APGD-L1",
        "JSMA",
        "MI-FGM",
        "DI-FGM",
        "TI-FGM",
        "ZOO",
        "HopSkipJump",
        "Square",
        "AutoAttack",
        "universal",
        "substitute",
    ]
    for name in ("ead", "cov"):
        assert traits[name].axes == ("beta", "kappa")
        assert traits[name].rules == ("en", "l1", "l2") and traits[name].default_rules == ("en", "l1")
    assert traits["cw"].axes == ("kappa",) and traits["cw"].rules == ()
    assert traits["fgm"].axes == traits["ifgm"].axes == ("norm",)
    assert all(each.norms for each in traits.values())
    assert [name for name in traits if not traits[name].untargeted] == ["jsma"]
    untargeted = ["deepfool", "superdeepfool", "autoattack", "universal"]
    assert [name for name in traits if not traits[name].targeted] == untargeted


class NoDataclass:
    """A plain class."""


@dataclass(kw_only=True)
class NotFrozen:
    targeted: bool = True
    most_passes = 1

    def __call__(self, model: Any, images: Any, labels: Any, *, batch_size: int) -> Any: ...


@dataclass(frozen=True)
class Positional(DuckTyped):
    epsilon: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Empty:
    pass


@dataclass(frozen=True, kw_only=True)
class OnlyInherits(Attack):
    targeted: bool = True


class NoBatchSize(Inherited):
    def __call__(self, model: Any, images: Any, labels: Any) -> Any:  # type: ignore[override]
        raise NotImplementedError


BREACHES: list[tuple[object, list[str]]] = [
    (NoDataclass, ["must be a dataclass of its parameters"]),
    (len, ["must be a dataclass of its parameters"]),
    (Inherited(), ["must be a dataclass of its parameters"]),
    (NotFrozen, ["must be frozen: write @dataclass(frozen=True, kw_only=True)"]),
    (Positional, ["must take keywords only, but not for epsilon: write @dataclass(kw_only=True)"]),
    (
        Empty,
        [
            "must have a field `targeted: bool`",
            "must have a property `most_passes`: an upper bound of the passes of one example",
            "must be callable: define __call__(self, model, images, labels, *, batch_size)",
        ],
    ),
    (
        OnlyInherits,
        [
            "must have a property `most_passes`: an upper bound of the passes of one example",
            "must be callable: define __call__(self, model, images, labels, *, batch_size)",
        ],
    ),
    (
        NoBatchSize,
        ["must take attack(model, images, labels, batch_size=1): got an unexpected keyword argument 'batch_size'"],
    ),
]


@pytest.mark.parametrize(("attack", "lines"), BREACHES, ids=lambda case: getattr(case, "__name__", ""))
def test_breaches_of_a_class(attack: object, lines: list[str]) -> None:
    assert breaches(attack) == lines


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"AXES": ("epsilom",)}, "must name its own fields in AXES, got epsilom"),
        ({"AXES": "epsilon"}, "must declare AXES as a tuple of texts, such as (\"beta\",), got 'epsilon'"),
        ({"RULES": ["l1"]}, "must declare RULES as a tuple of texts, such as (\"beta\",), got ['l1']"),
        ({"NORMS": (2,)}, 'must declare NORMS as a tuple of texts, such as ("beta",), got (2,)'),
        ({"NORMS": ("l2", "l3")}, "must choose its NORMS from l0, l1, l2, linf, got l3"),
        ({"RULES": ("l1",), "DEFAULT_RULES": ("l2",)}, "must choose its DEFAULT_RULES from its RULES, got l2"),
        ({"DEFAULT_RULES": ("l2",)}, "must choose its DEFAULT_RULES from its RULES, got l2"),
        (
            {"RULES": ("l1",), "DEFAULT_RULES": ()},
            "must have at least one of its RULES on by default, got DEFAULT_RULES = ()",
        ),
        ({"TARGETED": False, "UNTARGETED": False}, "must support a mode: TARGETED or UNTARGETED must be True"),
        (
            {"NORMS": ("l1", "l2"), "TOLERANCE": {"l1": 0.1}},
            "must declare TOLERANCE as a number, or for each of NORMS; l2 is missing",
        ),
        ({"LABEL": 3}, "must declare LABEL as text, got 3"),
    ],
)
def test_breaches_of_class_variables(variables: dict[str, Any], line: str) -> None:
    assert breaches(type("Wrong", (Inherited,), variables)) == [line]
