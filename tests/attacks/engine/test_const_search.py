"""The ends of the search over c, which show where c₀ and the number of steps do not fit the scale of the logits."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eadbench.attacks import COV, EAD, CarliniWagner
from tests.attacks.models import examples, smooth

SETTINGS: dict[str, Any] = {"binary_search_steps": 4, "max_iterations": 60, "initial_const": 1.0, "learning_rate": 0.1}
each_attack = pytest.mark.parametrize("attack", [EAD, CarliniWagner, COV])


class Scaled(nn.Module):
    """The smooth network's logits times `scale`."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.network, self.scale = smooth(), scale

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x) * self.scale
        return logits


@each_attack
@pytest.mark.parametrize(("scale", "end", "rate"), [(30.0, -1, 1.0), (1e-6, 1, 0.0)])
def test_an_example_whose_search_ends_at_an_end_is_counted(attack: Any, scale: float, end: int, rate: float) -> None:
    """c₀/8 is too large for logits × 30, and 1000 c₀ too small for logits × 1e-6."""
    batch = examples(smooth())
    result = attack(**SETTINGS)(Scaled(scale), batch.images, batch.labels)
    assert result.const_end.tolist() == [end] * 8
    assert result["l2"].success.double().mean() == rate


@each_attack
def test_a_search_that_finds_its_c_ends_at_none(attack: Any) -> None:
    batch = examples(smooth())
    result = attack(**SETTINGS | {"initial_const": 0.1, "binary_search_steps": 6})(smooth(), batch.images, batch.labels)
    assert (result.const_end == 0)[result["l2"].success].all()
    assert result["l2"].success.sum() >= 6


@each_attack
def test_an_example_that_needs_no_change_does_not_count(attack: Any) -> None:
    batch = examples(smooth(), targeted=False)
    labels = (batch.labels + (torch.arange(8) > 0)) % 4  # only the first image has its target class already
    result = attack(**SETTINGS)(Scaled(30.0), batch.images, labels)
    assert result.const_end.tolist() == [0] + [-1] * 7


@each_attack
@pytest.mark.parametrize("const", [1e10, 1e30])
def test_a_first_c_beyond_the_search_is_refused(attack: Any, const: float) -> None:
    with pytest.raises(ValueError, match="initial_const must be below 1e\\+10"):
        attack(initial_const=const)
