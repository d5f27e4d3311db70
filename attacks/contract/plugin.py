"""The contract suite as parametrised tests of pytest."""

from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import partial
from typing import Any

from eadbench.attacks.attack import Attack, traits_of
from eadbench.attacks.contract.subject import Breach, Subject
from eadbench.attacks.contract.suite import CHECKS, Check, run


def parametrize_with_checks(attacks: Iterable[Attack]) -> Callable[[Any], Any]:
    """Decorate a test function that takes `check`: pytest calls it once for each attack and check.

    ::

        @parametrize_with_checks([MyAttack(), MyAttack(epsilon=0.3)])
        def test_contract(check):
            check()
    """
    import pytest  # only test suites have it

    return pytest.mark.parametrize(
        "check",
        [
            pytest.param(partial(_require_pass, check, subject), id=f"{description}-{check.__name__}")
            for attack in attacks
            for subject, description in [(Subject(attack), describe(attack))]
            for check in CHECKS
        ],
    )


def describe(attack: Attack) -> str:
    """The attack with its hyperparameters, but for defaults and those of CHECKED_WITH, in at most 60 characters."""
    usual = traits_of(type(attack)).checked_with
    values = {field.name: (getattr(attack, field.name), field.default) for field in fields(attack)}  # type: ignore[arg-type]
    changed = [
        f"{name}={value!r}"
        for name, (value, default) in values.items()
        if repr(value) not in (repr(default), repr(usual.get(name, default)))
    ]
    text = f"{type(attack).__name__}({', '.join(changed)})"
    return text if len(text) <= 60 else f"{text[:56]}...)"


def _require_pass(check: Check, subject: Subject) -> None:
    """Raise the check's breach, for pytest to show."""
    outcome = run(check, subject)
    if not outcome.passed:
        raise Breach(f"{outcome.name}: {outcome.why}")
