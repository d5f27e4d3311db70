"""The JSON Schema accepts every spec that ships and refuses mistakes; docs/spec.md is what the models say."""

import functools
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from eadbench.harness import spec
from eadbench.harness.errors import UserError
from eadbench.harness.spec import describe
from eadbench.harness.spec.yaml import parsed
from tests.command import eadbench

ROOT = Path(__file__).parents[3]
SWEEPS = sorted((ROOT / "sweeps").rglob("*.yaml"))

MISTAKES: dict[str, tuple[str, Any]] = {
    "unknown key": ("victim", 1),
    "no such data set": ("dataset", {"name": "mnits"}),
    "data set without its path": ("dataset", {"name": "folder"}),
    "no such attack": ("attacks", [{"name": "eda"}]),
    "unknown hyperparameter": ("attacks", [{"name": "cw", "beta": 1}]),
    "axis of a wrong type": ("attacks", [{"name": "ead", "beta": ["x"]}]),
    "no such decision rule": ("attacks", [{"name": "ead", "decision_rules": ["l3"]}]),
    "no attack": ("attacks", []),
    "no such defence": ("victims", [{"arch": "digits", "training": {"epochs": 1}, "defense": "distilation"}]),
    "no count": ("images", {}),
    "no image": ("images", {"count": 0}),
    "targets": ("targets", "some"),
    "precision": ("precision", "fp8"),
}


def document(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = parsed(path.read_text(encoding="utf-8"))
    return content


@functools.cache
def validator() -> Any:
    schema = describe.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_spec_that_ships_is_valid(path: Path) -> None:
    validator().validate(document(path))


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_resolved_spec_is_valid(path: Path) -> None:
    if path.stem == "libraries" and not all(find_spec(name) for name in ("foolbox", "torchattacks", "art")):
        pytest.skip("a library of sweeps/libraries.yaml is not installed")
    validator().validate(parsed(spec.dump(spec.load(path))))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_invalid_and_refused(mistake: str) -> None:
    key, value = MISTAKES[mistake]
    content = document(ROOT / "sweeps" / "digits.yaml") | {key: value}
    assert not validator().is_valid(content)
    with pytest.raises(UserError):
        spec.parse(content)


FGM = {"name": "fgm", "norm": "l2"}


@pytest.mark.parametrize(
    ("attack", "valid"),
    [
        *(
            ({"name": "fgm", "norm": norm}, True)
            for norm in (1, 2.0, "2", "inf", "L2", "l_inf", "Linf", "∞", [1, "L2"])
        ),
        *(({"name": "fgm", "norm": norm}, False) for norm in (3, 0, "l3", "l0", "one", "", None, ["l2", "x"])),
        ({"name": "sigma_zero", "steps": 3}, True),
        ({"name": "fmn", "norm": 0}, True),
        ({"name": "apgd", "norm": "inf", "epsilon": ["4/255", None]}, True),
        ({"name": "apgd", "norm": 2, "loss": "cw"}, False),
        (FGM | {"epsilons": [" 4 / 255 ", "8/255", 0.1]}, True),
        *((FGM | {"epsilons": [text]}, False) for text in ("8/", "/255", "8//255", "a/b")),
        ({"name": "ead", "beta": "1/1000", "kappa": ["1/2", 3]}, True),
        ({"name": "ead", "beta": ["1/1000", 1e-2], "learning_rate": "1/100"}, True),
        ({"name": "ead", "max_iterations": "8/2"}, False),
    ],
)
def test_norms_and_fractions_are_valid_where_they_are_read(attack: dict[str, Any], valid: bool) -> None:
    content = document(ROOT / "sweeps" / "digits.yaml") | {"attacks": [attack]}
    assert validator().is_valid(content) == valid
    try:
        spec.parse(content)
    except UserError:
        assert not valid
    else:
        assert valid


@pytest.mark.parametrize("written", ["8/255", 0.03, ["8/255", 0.1]])
def test_fractions_of_defences_are_valid(written: Any) -> None:
    defense = {"pgd_training": {"epsilon": written, "steps": 2, "norm": "L2"}}
    victims = [{"arch": "digits", "training": {"epochs": 1, "learning_rate": "1/1000"}, "defense": defense}]
    content = document(ROOT / "sweeps" / "digits.yaml") | {"victims": victims}
    validator().validate(content)
    spec.parse(content)


def test_targets_from_a_file_need_no_count(tmp_path: Path) -> None:
    path = tmp_path / "targets.csv"
    path.write_text("image,target\n1,2\n")
    content = document(ROOT / "sweeps" / "digits.yaml") | {"targets": {"file": str(path)}}
    for images in ({}, {"count": 3}, {"split": "train"}, None):
        content = {key: value for key, value in content.items() if key != "images"}
        content |= {} if images is None else {"images": images}
        validator().validate(content)
        validator().validate(parsed(spec.dump(spec.parse(content))))


def test_own_code_is_valid() -> None:
    content = document(ROOT / "sweeps" / "digits.yaml")
    content |= {"attacks": [{"name": "mine:Attack", "epsilon": [0.1, 0.3]}], "dataset": {"name": "mine:data"}}
    content |= {"victims": [{"arch": "mine:Net", "training": {"epochs": 1}, "defense": {"mine:Defence": {"x": 1}}}]}
    validator().validate(content)


def test_the_command_prints_the_schema_and_the_page() -> None:
    assert eadbench("schema").out.startswith('{\n  "$defs"')
    page = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    assert eadbench("schema", "--markdown").out == page, "run: eadbench schema --markdown > docs/spec.md"
    assert not re.search(r"\| (\*Axis\.\* )? ?\|$", page, re.MULTILINE), "a parameter without a meaning"
