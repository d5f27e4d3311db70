"""The protocol of defences: what a class must declare, and what it may ask for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from eadbench.defenses import DEFENSES, Crafting, Defense, breaches
from eadbench.models import Recipe, Training
from tests.models.test_training import recipe


@dataclass(frozen=True, kw_only=True)
class Inherited(Defense):
    """Has what cannot be left out."""

    strength: float = 1.0

    def needs(self, recipe: Recipe) -> Mapping[str, Recipe]:
        return {}

    def train(self, recipe: Any, data: Any, *, needed: Any, examples: Any, fit: Any) -> Any:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class DuckTyped:
    strength: float = 1.0

    def needs(self, recipe: Recipe) -> Mapping[str, Recipe]:
        return {}

    def crafts(self) -> None:
        return None

    def train(self, recipe: Any, data: Any, **parts: Any) -> Any:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Empty:
    pass


@dataclass(frozen=True, kw_only=True)
class OnlyInherits(Defense):
    pass


@pytest.mark.parametrize("defense", [Inherited, DuckTyped, *DEFENSES.values()])
def test_a_class_that_keeps_the_protocol(defense: object) -> None:
    assert breaches(defense) == []


NEEDS = "must have a method needs(recipe)"
TRAIN = "must have a method train(recipe, data, *, needed, examples, fit)"
CRAFTS = "must have a method crafts(), such as that of eadbench.defenses.Defense"


@pytest.mark.parametrize(
    ("defense", "lines"),
    [
        (len, ["must be a dataclass of its parameters"]),
        (
            dataclass(kw_only=True)(type("Thawed", (), {})),
            ["must be frozen: write @dataclass(frozen=True, kw_only=True)"],
        ),
        (Empty, [NEEDS, CRAFTS, TRAIN]),
        (OnlyInherits, [NEEDS, TRAIN]),
        (type("Late", (Inherited,), {"needs": lambda self: {}}), [f"{NEEDS}: too many positional arguments"]),
        (
            type("Short", (Inherited,), {"train": lambda self, recipe, data, *, needed: None}),
            [f"{TRAIN}: got an unexpected keyword argument 'examples'"],
        ),
        (type("Axes", (Inherited,), {"AXES": ("length",)}), ["must name its own fields in AXES, got length"]),
        (type("Later", (Inherited,), {"LATER": ("length",)}), ["must name its own fields in LATER, got length"]),
        (
            type("Text", (Inherited,), {"AXES": "strength"}),
            ["must declare AXES as a tuple of texts, such as (\"beta\",), got 'strength'"],
        ),
        (type("Label", (Inherited,), {"LABEL": None}), ["must declare LABEL as text, got None"]),
    ],
)
def test_breaches(defense: object, lines: list[str]) -> None:
    assert breaches(defense) == lines


def test_only_adversarial_training_asks_for_examples_on_a_model_that_it_needs() -> None:
    parameters: dict[str, dict[str, Any]] = {
        "distillation": {"temperature": 10},
        "distillation_teacher": {"temperature": 10},
        "pgd_training": {"epsilon": 0.1, "steps": 2},
        "adversarial_training": {"attacks": [{"name": "cw"}], "images": 7, "seed": 3},
        "trades": {"epsilon": 0.1},
        "squeezed": {"bits": 1},
        "ensemble_adversarial_training": {"epsilon": 0.1},
    }
    defenses = {name: defense(**parameters.get(name, {})) for name, defense in DEFENSES.items()}
    crafting = {name: asked for name, defense in defenses.items() if (asked := defense.crafts())}
    expected = Crafting(on="undefended", attacks=[{"name": "cw"}], images=7, seed=3)
    assert crafting == {"adversarial_training": expected}
    hardened = recipe(
        Training(epochs=1), defense={"name": "adversarial_training", **parameters["adversarial_training"]}
    )
    needs = defenses["adversarial_training"].needs(hardened)
    assert needs[expected.on] == replace(hardened, defense={"name": "none"})


def test_labels_and_axes() -> None:
    declared = {name: (defense.LABEL, defense.AXES) for name, defense in dict[str, Any](DEFENSES).items()}
    assert declared == {
        "none": ("no defence", ()),
        "distillation": ("distillation", ("temperature",)),
        "distillation_teacher": ("distillation teacher", ("temperature",)),
        "adversarial_training": ("adversarial training", ()),
        "pgd_training": ("PGD training", ("epsilon",)),
        "trades": ("TRADES", ("epsilon", "beta")),
        "stability_training": ("stability training", ("alpha", "sigma")),
        "brelu_augmentation": ("BReLU + augmentation", ("sigma",)),
        "squeezed": ("squeezed", ("bits", "median", "quality")),
        "ensemble_adversarial_training": ("ensemble adversarial training", ("epsilon",)),
    }
