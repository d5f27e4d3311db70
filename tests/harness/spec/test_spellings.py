"""Norms and fractions mean what they say, however they are written."""

from typing import Any

import pytest

from eadbench.harness import spec
from eadbench.harness.errors import UserError
from tests.sweeps import small

PGD = {"epsilon": 0.1, "steps": 2}


@pytest.mark.parametrize(
    ("written", "norm"),
    [
        (1, "l1"),
        (2, "l2"),
        (2.0, "l2"),
        ("2", "l2"),
        ("L2", "l2"),
        ("l_2", "l2"),
        ("inf", "linf"),
        ("Linf", "linf"),
        ("L_inf", "linf"),
        ("linf", "linf"),
    ],
)
def test_norms(written: Any, norm: str) -> None:
    """The resolved spec, and so a cell's identity, has our name alone."""
    for value in (written, [written]):
        [entry] = small(attacks=[{"name": "fgm", "norm": value}]).attacks
        assert entry.axes["norm"] == [norm]
    victim = {"arch": "digits", "training": {"epochs": 1}, "defense": {"pgd_training": {**PGD, "norm": written}}}
    [entry] = small(victims=[victim]).victims
    assert norm in (entry.defense.parameters | {name: each[0] for name, each in entry.defense.axes.items()}).values()


@pytest.mark.parametrize("written", [3, "l3", True, "one", "", None, {}])
def test_no_norms(written: Any) -> None:
    with pytest.raises(UserError, match=r"attacks\[0\].norm"):
        small(attacks=[{"name": "fgm", "norm": written}])


def test_fractions() -> None:
    [entry] = small(attacks=[{"name": "fgm", "norm": "inf", "epsilons": [" 4 / 255 ", "8/255", 0.1]}]).attacks
    assert entry.parameters["epsilons"] == [4 / 255, 8 / 255, 0.1]
    [ead] = small(attacks=[{"name": "ead", "beta": "1/1000", "kappa": ["1/2", 3]}]).attacks
    assert (ead.axes["beta"], ead.axes["kappa"]) == ([1 / 1000], [0.5, 3])
    victim = {"arch": "digits", "training": {"epochs": 1}, "defense": {"pgd_training": {**PGD, "epsilon": "8/255"}}}
    assert "- 0.03137" in spec.dump(small(victims=[victim]))
    assert spec.parse(spec.yaml.parsed(spec.dump(small(victims=[victim])))) == small(victims=[victim])


@pytest.mark.parametrize("written", ["8/0", "8/", "/255", "8//255", "a/b"])
def test_no_fractions(written: str) -> None:
    with pytest.raises(UserError, match=r"attacks\[0\].epsilons"):
        small(attacks=[{"name": "fgm", "norm": "l2", "epsilons": [written]}])
