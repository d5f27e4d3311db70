"""The cascade at a fixed ε: against its members one by one, on what is left, and mistakes."""

from typing import Any, Literal

import pytest
import torch

from eadbench.attacks import APGD, APGDL1, FAB, AutoAttack, Budgeted, Square
from eadbench.attacks.contract.victims import half_space, labels_to_attack, small_images, small_net

Norm = Literal["l1", "l2", "linf"]
SHORT: dict[str, Any] = {"steps": 3, "queries": 20}
EPSILON: dict[Norm, float] = {"l1": 0.5, "l2": 0.25, "linf": 0.08}


@pytest.mark.parametrize(
    ("norm", "ensemble"), [("l1", "standard"), ("l2", ("square", "fab-t")), ("linf", "standard"), ("linf", "plus")]
)
def test_an_image_breaks_by_the_first_member_that_breaks_it_alone(norm: Norm, ensemble: Any) -> None:
    model, images = small_net(), small_images(6)
    labels = labels_to_attack(model, images, targeted=False)
    attack = AutoAttack(norm=norm, epsilon=EPSILON[norm], ensemble=ensemble, **SHORT)
    result = attack(model, images, labels, batch_size=4)
    alone = [member(model, images, labels) for member in attack.members()]
    kept = result[norm]
    assert 0 < kept.success.sum() < 6
    for i in range(6):
        breaks = [bool(each[norm].success[i]) for each in alone]
        assert bool(kept.success[i]) == any(breaks)
        by = breaks.index(True) if any(breaks) else len(alone) - 1
        assert result.found_by is not None
        assert result.found_by[i] == (attack.names[by] if any(breaks) else None)
        if any(breaks):
            assert torch.equal(kept.images[i], alone[by][norm].images[i])
        spent = sum(int(each.iterations[i]) for each in alone[: by + 1])
        assert int(result.iterations[i]) == spent, "members after the one that breaks it take no passes"


def test_members_are_those_of_the_paper() -> None:
    standard = AutoAttack(norm="l2", epsilon=0.5).members()
    assert standard == [
        APGD(norm="l2", epsilon=0.5, loss="ce", targeted=False),
        APGD(norm="l2", epsilon=0.5, loss="dlr", targets=9, targeted=False),
        FAB(norm="l2", epsilon=0.5, targeted=False),
        Square(norm="l2", epsilon=0.5, rescale=False, targeted=False),
    ]
    plus = AutoAttack(norm="linf", epsilon=0.1, ensemble="plus").members()
    assert [getattr(member, "restarts", 1) for member in plus] == [5, 5, 5, 1, 1, 1]
    first, second, *_ = AutoAttack(norm="l1", epsilon=12.0).members()
    assert first == APGDL1(epsilon=12.0, loss="ce", restarts=5, targeted=False)
    assert second == APGDL1(epsilon=12.0, loss="dlr", targets=5, targeted=False)


@pytest.mark.parametrize("norm", EPSILON)
def test_on_planes_it_tells_what_lies_within_epsilon(norm: Norm) -> None:
    model, images, least = half_space(norm, 0.0)
    middle = float((least[1] + least[2]) / 2)
    attack = AutoAttack(norm=norm, epsilon=middle, ensemble=("apgd-ce", "fab"), steps=60)
    kept = attack(model, images, torch.zeros(4, dtype=torch.int64))[norm]
    assert kept.success.tolist() == [True, True, False, False]
    assert (kept.epsilon[:2] - middle).abs().max() < 1e-6 and kept.epsilon[2:].isnan().all()


def test_a_clean_error_is_broken_without_a_change() -> None:
    model, images = small_net(), small_images(3)
    wrong = (labels_to_attack(model, images, targeted=False) + 1) % 4
    result = AutoAttack(norm="linf", epsilon=0.1)(model, images, wrong)
    assert result["linf"].success.all() and (result["linf"].linf == 0).all() and result.iterations.tolist() == [0] * 3


def test_a_budget_ends_it() -> None:
    model, images = small_net(), small_images(3)
    labels = labels_to_attack(model, images, targeted=False)
    attack = Budgeted(attack=AutoAttack(norm="linf", epsilon=1e-3), budget=100)
    result = attack(model, images, labels)
    assert (result.iterations + result.forward_passes).tolist() == [100] * 3 and not result["linf"].success.any()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"targeted": True}, "AutoAttack is untargeted only"),
        ({"ensemble": "rand"}, "ensemble must be one of standard, plus, got 'rand'"),
        ({"ensemble": ("pgd",)}, "ensemble must be one of apgd-ce, apgd-dlr, apgd-t, fab, fab-t, square, got 'pgd'"),
        ({"ensemble": ("fab", "fab")}, "ensemble must name some members, each once, got fab, fab"),
        ({"ensemble": ()}, "ensemble must name some members, each once, got none"),
        ({"targets": 0}, "targets must be at least 1, got 0"),
        ({"queries": 0}, "queries must be at least 1, got 0"),
    ],
)
def test_mistakes(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AutoAttack(**{"norm": "linf", "epsilon": 0.1} | wrong)
