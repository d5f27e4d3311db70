"""Detectors of victims and adaptive attacks in a spec: defaults filled in, mistakes refused in a line."""

from typing import Any

import pytest

from eadbench.defenses.detectors import DETECTORS
from eadbench.harness import spec
from eadbench.harness.errors import UserError
from tests.sweeps import small

EAD = {"name": "ead"}


def parsed(detectors: list[Any], *attacks: dict[str, Any], **victim: Any) -> spec.Spec:
    victims = [{"arch": "digits", "training": {"epochs": 1}, "detectors": detectors, **victim}]
    return small(victims=victims, attacks=list(attacks) or [EAD])


def test_entries_have_every_parameter_and_are_read_again() -> None:
    what = parsed(["mmd", {"name": "kernel_density", "bandwidth": 1.2}], EAD, EAD | {"adaptive": "kernel_density"})
    [victim] = what.victims
    assert [entry["name"] for entry in victim.detectors] == ["mmd", "kernel_density"]
    assert victim.detectors[1]["bandwidth"] == 1.2 and victim.detectors[1]["false_positives"] == 0.05
    assert what.attacks[1].parameters["adaptive"] == victim.detectors[1]
    written = spec.written(what)
    assert spec.parse(written) == spec.parse(written, code=False) == what


def test_a_spec_without_detectors_is_written_as_before() -> None:
    written = spec.written(parsed([]))
    assert "detectors" not in written["victims"][0] and "adaptive" not in written["attacks"][0]


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_can_be_named(name: str) -> None:
    assert parsed([name]).victims[0].detectors[0]["name"] == name


@pytest.mark.parametrize(
    ("detectors", "attack", "text"),
    [
        (["mmdd"], EAD, "victims[0].detectors[0].name: must name a known detector"),
        ([{"name": "mmd", "sets": 3}], EAD, "victims[0].detectors[0].sets: unknown key"),
        ([{"name": "kernel_density", "bandwidth": 0}], EAD, "victims[0].detectors[0].bandwidth must be above 0"),
        (["mmd", "mmd"], EAD, "victims[0].detectors[1]: is there twice"),
        (["mmd"], EAD | {"adaptive": "mmd"}, "attacks[0].adaptive: mmd has no gradient"),
        (
            [{"name": "kernel_density", "dropout": 50}],
            EAD | {"adaptive": "kernel_density"},
            "attacks[0].adaptive: kernel_density has no gradient",
        ),
        (["mmd"], EAD | {"adaptive": "feature_squeezing"}, "attacks[0].adaptive: victims[0] has no such detector"),
        (
            ["feature_squeezing"],
            EAD | {"adaptive": {"name": "feature_squeezing", "bits": 3}},
            "attacks[0].adaptive: victims[0] has no such detector",
        ),
        (
            ["feature_squeezing"],
            {"name": "fgm", "norm": "l2", "adaptive": "feature_squeezing"},
            "attacks[0].adaptive: must be left out but with",
        ),
        (
            ["feature_squeezing"],
            EAD | {"adaptive": "feature_squeezing", "budget": 100},
            "attacks[0].adaptive: must be left out on a budget",
        ),
        (["mmd"], EAD | {"adaptive_weight": 2}, "attacks[0].adaptive_weight: needs adaptive"),
        (
            ["feature_squeezing"],
            EAD | {"adaptive": "feature_squeezing", "adaptive_weight": 0},
            "attacks[0].adaptive_weight: must be greater than 0",
        ),
    ],
)
def test_mistakes(detectors: list[Any], attack: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError) as refused:
        parsed(detectors, attack)
    assert str(refused.value).startswith(text) and "\n" not in str(refused.value)


def test_a_victim_that_is_not_attacked_has_nothing_to_judge() -> None:
    victims = [
        {"arch": "digits", "training": {"epochs": 1}},
        {"arch": "digits", "training": {"epochs": 2}, "attacked": False, "detectors": ["mmd"]},
    ]
    with pytest.raises(UserError, match="detectors: has no examples to judge"):
        small(victims=victims)
