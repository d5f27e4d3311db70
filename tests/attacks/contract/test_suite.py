"""The contract suite passes a sound attack, and catches each broken one by the check that is meant for it."""

from typing import Any

import pytest
import torch

from eadbench.attacks import FGM
from eadbench.attacks.contract import CHECKS, Outcome, check, instances, parametrize_with_checks
from eadbench.attacks.contract.plugin import describe
from eadbench.attacks.contract.suite import name_of
from eadbench.attacks.contract.victims import HALF_SPACE_DISTANCES, half_space
from tests.attacks.contract.broken import RULES, Random, Sound, StopsAtNaN


@parametrize_with_checks([Sound(), Sound(epsilon=0.3)])
def test_a_sound_attack_passes(check: Any) -> None:
    check()


@pytest.mark.parametrize("attack", RULES, ids=lambda attack: str(attack.__name__))
def test_a_broken_attack_fails_its_own_check(attack: type) -> None:
    outcomes = check(attack)
    assert {outcome.name for outcome in outcomes if not outcome.passed} == RULES[attack]
    assert all(outcome.why and "\n" not in outcome.why for outcome in outcomes if not outcome.passed)


def test_every_check_has_a_broken_attack() -> None:
    assert set().union(*RULES.values()) == {name_of(check) for check in CHECKS}


def test_every_check_states_its_rule() -> None:
    assert all((check.__doc__ or "").strip().splitlines()[0].endswith((".", ",")) for check in CHECKS)


def test_an_error_is_an_outcome() -> None:
    [outcome] = [outcome for outcome in check(StopsAtNaN()) if not outcome.passed]
    assert outcome == Outcome("nan logits give failed rows", False, "raises RuntimeError: the gradient is NaN")


def test_pytest_shows_the_breach() -> None:
    mark = parametrize_with_checks([Random()])
    names = [parameter.id for parameter in mark.mark.args[1]]
    assert names[0] == "Random()-declares_the_protocol" and len(names) == len(CHECKS)
    [repeats] = [parameter.values[0] for parameter in mark.mark.args[1] if parameter.id.endswith("repeats_itself")]
    with pytest.raises(AssertionError, match=r"^repeats itself: small net, targeted, rule linf: equal calls"):
        repeats()


def test_a_class_is_built_for_each_norm_that_it_needs() -> None:
    built = instances(FGM, epsilons=(0.1, 0.2))
    assert describe(built[0]) == "FGM(norm='l1', epsilons=(0.1, 0.2))"
    assert [attack.norm for attack in built] == ["l1", "l2", "linf"]
    assert instances(FGM, norm="l2", targeted=False)[0].targeted is False
    assert instances(Sound, epsilon=0.3) == [Sound(epsilon=0.3)]


@pytest.mark.parametrize("kappa", [0.0, 0.5, 40.0])
@pytest.mark.parametrize("norm", HALF_SPACE_DISTANCES)
def test_half_space_distances_are_attained_inside_the_box(norm: str, kappa: float) -> None:
    """The least perturbation in closed form, applied: f reaches κ, over the distance that is stated."""
    model, images, least = half_space(norm, kappa)
    w = (model.weight[1] - model.weight[0]).detach()
    if norm == "l0":
        gains = (w.abs() * torch.where(w > 0, 1 - images, images)).flatten(1)
        for row, count in enumerate(least.tolist()):
            order = gains[row].argsort(descending=True)
            for values, reached in ((count, True), (count - 1, False)):
                x = images[row : row + 1].clone()
                x.view(-1)[order[:values]] = (w.view(-1)[order[:values]] > 0).float()
                f = model(x)[0, 1] - model(x)[0, 0]
                assert (f >= kappa - 1e-4) == reached
        return
    if norm == "l1":
        step = torch.zeros_like(w)
        step.view(-1)[w.abs().argmax()] = w.view(-1)[w.abs().argmax()].sign()
    else:
        step = w / w.norm() if norm == "l2" else w.sign()
    x = images + least[:, None, None, None] * step
    with torch.no_grad():
        logits = model(x)
    f = logits[:, 1] - logits[:, 0]
    torch.testing.assert_close(f, torch.full((4,), kappa), rtol=1e-4, atol=1e-4)
    assert x.amin() > 0.05 and x.amax() < 0.95
    assert (least > 0).all()
