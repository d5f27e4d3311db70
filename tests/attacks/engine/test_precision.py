"""Attacks with gradients in lower precision: their results, and that successes are tested in float32."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eadbench.attacks import COV, EAD, FGM, IFGM, CarliniWagner
from eadbench.attacks.engine.precision import LowerPrecision

ATTACKS: dict[str, Any] = {
    "ead": EAD(beta=1e-3, binary_search_steps=3, max_iterations=20, initial_const=1),
    "cw": CarliniWagner(binary_search_steps=3, max_iterations=20, initial_const=1, learning_rate=0.1),
    "cov": COV(binary_search_steps=3, max_iterations=20, initial_const=1, learning_rate=0.1),
    "fgm": FGM(norm="linf", epsilons=[0.1, 0.2, 0.5, 1]),
    "ifgm": IFGM(norm="l2", epsilons=[0.5, 1, 2, 4], steps=3),
}


class Watched(nn.Module):
    """A network that records the precision of each call; an `optimist` gives class 1 in lower precision."""

    def __init__(self, *, optimist: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(36, 24), nn.ReLU(), nn.Linear(24, 4))
        self.optimist = optimist
        self.searched: list[str] = []
        self.judged: list[str] = []

    def forward(self, images: Tensor) -> Tensor:
        lower = torch.is_autocast_enabled("cpu")
        tf32 = torch.backends.cudnn.allow_tf32 and torch.backends.cuda.matmul.allow_tf32
        seen = self.searched if torch.is_grad_enabled() else self.judged
        seen.append("bf16" if lower else "tf32" if tf32 else "float32")
        logits: Tensor = self.network(images)
        if lower and self.optimist:
            logits = logits + 100 * nn.functional.one_hot(torch.ones(len(images), dtype=torch.long), 4)
        return logits


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6, 1, 6, 6, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def no_tf32() -> Iterator[None]:
    places = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = False
    yield
    for place, value in zip(places, before, strict=True):
        place.allow_tf32 = value


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize("name", ATTACKS)
def test_takes_gradients_in_it_and_judges_in_float32(images: Tensor, name: str, precision: Any) -> None:
    model, targets = Watched(), torch.arange(6) % 4
    result = ATTACKS[name](LowerPrecision(model, precision), images, targets)
    rules = len(result)
    assert set(model.searched) == {precision}
    assert "float32" in model.judged[1:-rules]  # the first call checks the shape of the logits
    assert model.judged[-rules:] == ["float32"] * rules
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
    for kept in result.values():
        assert kept.success.any()
        logits = model(kept.images)
        assert torch.equal(logits.argmax(1)[kept.success], targets[kept.success])
        assert not kept.unconfirmed.any()


@pytest.mark.parametrize("name", ATTACKS)
def test_finds_what_float32_finds(images: Tensor, name: str) -> None:
    model, targets = Watched(), torch.arange(6) % 4
    lower, expected = (ATTACKS[name](each, images, targets) for each in (LowerPrecision(model, "bf16"), model))
    for rule, kept in lower.items():
        assert torch.equal(kept.success, expected[rule].success) and kept.success.any()
        torch.testing.assert_close(kept.l2.nanmean(), expected[rule].l2.nanmean(), rtol=0.05, atol=0)


def test_bf16_is_rounded_and_comes_back_as_float32(images: Tensor) -> None:
    model = Watched()
    exact, rounded = model(images), LowerPrecision(model, "bf16")(images)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("name", ATTACKS)
def test_what_only_lower_precision_takes_for_a_success_is_none(images: Tensor, name: str) -> None:
    model, targets = Watched(optimist=True), torch.ones(6, dtype=torch.long)
    result = ATTACKS[name](LowerPrecision(model, "bf16"), images, targets)
    for kept in result.values():
        wrong = model(kept.images).argmax(1) != 1
        assert wrong.any() and torch.equal(kept.success, ~wrong)
        assert kept.l1[wrong].isnan().all()
        assert torch.equal(kept.images[wrong], images[wrong])


@pytest.mark.parametrize("name", ATTACKS)
def test_what_does_not_hold_at_the_end_is_a_failure_and_counted(images: Tensor, name: str) -> None:
    class Wavers(Watched):
        """Inverts its logits after `honest` forward passes; the last ones are the final tests."""

        passes = 0
        honest: float = torch.inf

        def forward(self, images: Tensor) -> Tensor:
            self.passes += 1
            logits = super().forward(images)
            return logits if self.passes <= self.honest else -logits

    model, targets = Wavers(), torch.arange(6) % 4
    rules = len(expected := ATTACKS[name](model, images, targets))
    model.honest, model.passes = model.passes - rules, 0
    for rule, kept in ATTACKS[name](model, images, targets).items():
        assert expected[rule].success.any() and not kept.success.any()
        assert torch.equal(kept.unconfirmed, expected[rule].success)
        assert kept.l1.isnan().all() and torch.equal(kept.images, images)


def test_other_precisions_are_refused() -> None:
    with pytest.raises(ValueError, match="precision must be tf32 or bf16, got 'float16'"):
        LowerPrecision(nn.Identity(), "float16")  # type: ignore[arg-type]
