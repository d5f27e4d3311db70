"""The public contract of our attacks, one clear line for misuse, and what the contract leaves out."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eadbench.attacks import ATTACKS, COV, EAD, FGM, IFGM, BudgetedCarliniWagner, BudgetedEAD, CarliniWagner
from eadbench.attacks.contract import instances, parametrize_with_checks
from tests.attacks.models import Brightness, Constant, examples, smooth

SHORT: dict[str, Any] = {"binary_search_steps": 2, "max_iterations": 4}
BUILT: dict[str, Any] = {
    "ead": EAD(**SHORT),
    "cw": CarliniWagner(**SHORT),
    "cov": COV(**SHORT),
    "fgm": FGM(norm="linf", epsilons=(0.1, 0.3)),
    "ifgm": IFGM(norm="l1", epsilons=(0.1, 3.0)),
}
each_attack = pytest.mark.parametrize("name", BUILT)
CHECKED = [
    *(attack for cls in dict[str, Any](ATTACKS).values() for attack in instances(cls)),
    *(attack for norm in BudgetedEAD.NORMS for attack in instances(BudgetedEAD, norm=norm)),
    *instances(BudgetedCarliniWagner),
]


@parametrize_with_checks(CHECKED)
def test_public_contract(check: Callable[[], None]) -> None:
    check()


class BreaksDown(nn.Module):
    """A model of mixed modes and partly frozen parameters that fails at one of its calls."""

    def __init__(self, call: int) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.Dropout(0.5).eval())
        self.network.requires_grad_(False)[1].weight.requires_grad_(True)
        self.calls, self.last = 0, call

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == self.last:
            raise RuntimeError("out of order")
        logits: Tensor = self.network(x)
        return logits

    def state(self) -> list[bool]:
        """Modes, and which parameters ask for gradients."""
        asking = [parameter.requires_grad for parameter in self.parameters()]
        return [module.training for module in self.modules()] + asking


@pytest.mark.parametrize("call", [1, 3])
@each_attack
def test_a_model_that_breaks_down_is_restored(name: str, call: int) -> None:
    model, batch = BreaksDown(call), examples(smooth())
    before = model.state()
    assert before == [True, True, True, True, False, True, False]
    with pytest.raises(RuntimeError, match="out of order"):
        BUILT[name](model, batch.images.float(), batch.labels, batch_size=3)
    assert model.state() == before


@each_attack
def test_an_attack_works_within_no_grad_and_on_images_that_ask_for_gradients(name: str) -> None:
    batch = examples(smooth())
    expected = BUILT[name](smooth(), batch.images, batch.labels)
    with torch.no_grad():
        without_grad = BUILT[name](smooth(), batch.images, batch.labels)
    images = batch.images.clone().requires_grad_()
    with_grad = BUILT[name](smooth(), images, batch.labels)
    assert images.grad is None and images.requires_grad
    for rule, kept in expected.items():
        assert torch.equal(without_grad[rule].images, kept.images)
        assert torch.equal(with_grad[rule].images, kept.images)
        assert not with_grad[rule].images.requires_grad


Misuse = Callable[[Tensor, Tensor], tuple[nn.Module, Tensor, Tensor]]
NOT_LABELS, NOT_LOGITS = "labels must be an integer tensor", "the model must return logits"
MISUSES: dict[str, tuple[Misuse, str]] = {
    "images above 1": (lambda x, y: (smooth(), 255 * x, y), r"images must lie in \[0, 1\], got \[0, 2"),
    "images below 0": (lambda x, y: (smooth(), x - 0.5, y), r"images must lie in \[0, 1\]"),
    "images with NaN": (lambda x, y: (smooth(), x * torch.nan, y), r"images must lie in \[0, 1\]"),
    "integer images": (lambda x, y: (smooth(), x.byte(), y), "images must be a float tensor"),
    "one image without its axis": (lambda x, y: (smooth(), x[0], y), "images must be a float tensor"),
    "float targets": (lambda x, y: (smooth(), x, y.float()), NOT_LABELS),
    "boolean targets": (lambda x, y: (smooth(), x, y > 1), NOT_LABELS),
    "too few targets": (lambda x, y: (smooth(), x, y[1:]), NOT_LABELS + r" \(8,\)"),
    "one-hot targets": (lambda x, y: (smooth(), x, torch.eye(4).long()[y]), NOT_LABELS),
    "target above K": (lambda x, y: (smooth(), x, y + 4), r"labels must be in 0\.\.3"),
    "negative target": (lambda x, y: (smooth(), x, y - 4), r"labels must be in 0\.\.3"),
    "last target above K": (
        lambda x, y: (smooth(), x, torch.cat([y[:7], y[7:] + 4])),
        r"labels must be in 0\.\.3",
    ),
    "logits (N,)": (lambda x, y: (nn.Sequential(smooth(), nn.Flatten(0)), x, y), NOT_LOGITS),
    "one class": (lambda x, y: (Constant(torch.zeros(1)), x, y * 0), NOT_LOGITS + r" \(N, K >= 2\): it returns one"),
    "logits (N, K, 1)": (lambda x, y: (nn.Sequential(smooth(), nn.Unflatten(1, (4, 1))), x, y), NOT_LOGITS),
}


@pytest.mark.parametrize("batch_size", [128, 3])
@pytest.mark.parametrize("misuse", MISUSES)
@each_attack
def test_misuse_is_refused_in_one_line(name: str, misuse: str, batch_size: int) -> None:
    batch = examples(smooth())
    make, message = MISUSES[misuse]
    model, images, labels = make(batch.images, batch.labels)
    with pytest.raises(ValueError, match=message) as caught:
        BUILT[name](model, images, labels, batch_size=batch_size)
    assert "\n" not in str(caught.value)


PARAMETERS: dict[str, tuple[dict[str, Any], str]] = {
    "negative beta": ({"beta": -1e-3}, "beta must be finite and not negative"),
    "negative kappa": ({"kappa": -1.0}, "kappa must be finite and not negative"),
    "NaN kappa": ({"kappa": float("nan")}, "kappa must be finite and not negative"),
    "infinite beta": ({"beta": float("inf")}, "beta must be finite"),
    "kappa of another length": ({"kappa": torch.zeros(5)}, r"kappa must be a number or a tensor \(8,\)"),
    "beta of another length": ({"beta": torch.zeros(1)}, r"beta must be a number or a tensor \(8,\)"),
    "kappa of two axes": ({"kappa": torch.zeros(8, 1)}, r"kappa must be a number or a tensor \(8,\)"),
    "no iterations": ({"max_iterations": 0}, "max_iterations must be at least 1, got 0"),
    "no search steps": ({"binary_search_steps": 0}, "binary_search_steps must be at least 1"),
    "no const": ({"initial_const": 0.0}, "initial_const must be positive"),
}


REFUSING = [(each, case) for each in (EAD, CarliniWagner, COV) for case in PARAMETERS]


@pytest.mark.parametrize(
    ("algorithm", "case"),
    [(each, case) for each, case in REFUSING if each is not CarliniWagner or "beta" not in case],
)
def test_a_wrong_parameter_is_refused_in_one_line(algorithm: type, case: str) -> None:
    changes, message = PARAMETERS[case]
    batch = examples(smooth())
    with pytest.raises(ValueError, match=message) as caught:
        algorithm(**SHORT | changes)(smooth(), batch.images, batch.labels)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["method", "threshold", "momentum"])
def test_a_variant_of_no_name_is_refused(field: str) -> None:
    """A misspelt name must not silently select another variant."""
    misspelt: dict[str, Any] = {field: "Beta"}
    with pytest.raises(ValueError, match=f"{field} must be"):
        EAD(**misspelt)


@each_attack
def test_the_gradient_may_be_an_expanded_tensor(name: str) -> None:
    images = torch.full((2, 1, 4, 4), 0.55)
    attack = BUILT[name]
    if name in ("ead", "cw", "cov"):
        attack = dataclasses.replace(attack, max_iterations=20, learning_rate=0.1, initial_const=1.0)
    assert all(kept.success.all() for kept in attack(Brightness(), images, torch.tensor([1, 1])).values())


@each_attack
def test_int32_targets_are_integers_too(name: str) -> None:
    batch = examples(smooth())
    result = BUILT[name](smooth(), batch.images, batch.labels.int())
    expected = BUILT[name](smooth(), batch.images, batch.labels)
    assert all(torch.equal(result[rule].images, kept.images) for rule, kept in expected.items())
