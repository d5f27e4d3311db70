"""The criterion of success, the attack loss, the distances, and the search over c."""

import math

import pytest
import torch

from eadbench.attacks import COV, EAD, CarliniWagner, distances
from eadbench.attacks.criterion import attack_loss, margin, succeeds
from eadbench.attacks.engine.const_search import UNBOUNDED, next_const
from tests.attacks.models import Shifted, examples, smooth
from tests.attacks.transcription import next_c

LOGITS = torch.tensor([[3.0, 1.0, 2.0], [-5.0, -7.0, -6.0], [1.0, 1.0, 0.0], [0.0, 0.0, 9.0]])
LABELS = torch.tensor([0, 1, 0, 2])
LEADS = torch.tensor([1.0, -2.0, 0.0, 9.0])


@pytest.mark.parametrize("targeted", [True, False], ids=["targeted", "untargeted"])
def test_margin_masks_each_row_s_own_label_only(targeted: bool) -> None:
    """Row 1 has negative logits only: a mask of 0 would give a margin of -7. Row 2 is a tie."""
    logits = LOGITS.clone()
    assert torch.equal(margin(logits, LABELS, targeted=targeted), LEADS if targeted else -LEADS)
    assert torch.equal(logits, LOGITS)


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [3, 1], [2], [1, 1, 0]], ids=str)
def test_margin_of_a_row_does_not_depend_on_its_neighbours(rows: list[int]) -> None:
    assert torch.equal(margin(LOGITS[rows], LABELS[rows], targeted=True), LEADS[rows])


@pytest.mark.parametrize(
    ("lead", "kappa", "success"),
    [
        (1.0, 0.0, True),
        (0.0, 0.0, False),  # a tie: what a blank or a constant model gives
        (-1.0, 0.0, False),
        (1e-30, 0.0, True),
        (2.0, 2.0, True),
        (1.99, 2.0, False),
        (math.inf, 0.0, False),
        (-math.inf, 0.0, False),
        (math.nan, 0.0, False),
    ],
)
def test_a_success_leads_by_a_finite_positive_kappa_or_more(lead: float, kappa: float, success: bool) -> None:
    assert succeeds(torch.tensor([lead]), torch.tensor([kappa])).tolist() == [success]


@pytest.mark.parametrize(("lead", "kappa", "loss"), [(-3, 0, 3), (-3, 5, 3), (2, 0, 0), (2, 5, -2), (7, 5, -5)])
def test_attack_loss_is_equation_3(lead: int, kappa: int, loss: int) -> None:
    assert attack_loss(torch.tensor([lead]), torch.tensor([kappa])).tolist() == [loss]


@pytest.mark.parametrize("algorithm", [EAD, CarliniWagner, COV])
def test_negative_logits_change_nothing(algorithm: type) -> None:
    models, batch = (smooth(), Shifted(smooth(), -1000)), examples(smooth())
    attack = algorithm(kappa=batch.kappa, max_iterations=30, binary_search_steps=6, learning_rate=0.1)
    plain, shifted = (attack(each, batch.images, batch.labels) for each in models)
    assert plain["l2"].success.sum() >= 4
    for rule, kept in plain.items():
        torch.testing.assert_close(shifted[rule].images, kept.images, rtol=0, atol=1e-7)
        assert torch.equal(shifted[rule].success, kept.success)
        torch.testing.assert_close(shifted[rule].const, kept.const, equal_nan=True)


def test_distances() -> None:
    delta = torch.zeros(2, 3, 2, 2, dtype=torch.float64)
    delta[0, 1, 0, 1], delta[0, 2, 1, 1] = -3, 4
    assert distances.l0(delta).tolist() == [2, 0]
    assert distances.l1(delta).tolist() == [7, 0]
    assert distances.l2_squared(delta).tolist() == [25, 0]
    assert distances.l2(delta).tolist() == [5, 0]
    assert distances.linf(delta).tolist() == [4, 0]


CS = {  # whether each search step succeeds (x), and the values of c after 0.001
    "never": ("........", [1e-2, 1e-1, 1, 10, 100, 1e3, 1e4, 1e5]),
    "always": ("xxx", [5e-4, 2.5e-4, 1.25e-4]),
    "grown, then bisected": ("..x", [1e-2, 1e-1, 0.055]),
    "bisected": ("..x.x.", [1e-2, 1e-1, 0.055, 0.0775, 0.06625, 0.071875]),
    "lost again": ("x..", [5e-4, 7.5e-4, 8.75e-4]),
}


@pytest.mark.parametrize("name", CS)
def test_the_search_over_c(name: str) -> None:
    pattern, expected = CS[name]
    c, lower, upper = torch.tensor([[1e-3], [0], [UNBOUNDED]], dtype=torch.float64)
    visited = []
    for letter in pattern:
        c, lower, upper = next_const(c, lower, upper, torch.tensor([letter == "x"]))
        visited.append(c.item())
    assert visited == pytest.approx(expected)


def test_the_search_over_c_is_carlini_and_wagner_s_row_by_row() -> None:
    """All patterns of eight successes and failures at once, against the scalar rule of Carlini and Wagner's code."""
    successes = torch.cartesian_prod(*[torch.tensor([False, True])] * 8)
    scalars = [(1e-3, 0.0, UNBOUNDED)] * len(successes)
    const, lower, upper = torch.tensor(scalars, dtype=torch.float64).unbind(1)
    for column in successes.T:
        const, lower, upper = next_const(const, lower, upper, column)
        scalars = [next_c(*each, success) for each, success in zip(scalars, column.tolist(), strict=True)]
        assert list(zip(const.tolist(), lower.tolist(), upper.tolist(), strict=True)) == scalars
