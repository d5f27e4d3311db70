"""What an attack is given: arrays, half precision, functions; and the images that it warns of or refuses."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eadbench.attacks import COV, EAD, FGM, IFGM, CarliniWagner
from eadbench.attacks.engine.precision import LowerPrecision
from tests.attacks.models import examples, smooth

QUICK: dict[str, Any] = {"binary_search_steps": 4, "max_iterations": 40, "initial_const": 0.1}
ATTACKS = {
    "ead": EAD(beta=1e-3, **QUICK),
    "cw": CarliniWagner(learning_rate=0.05, **QUICK),
    "cov": COV(learning_rate=0.05, **QUICK),
    "fgm": FGM(norm="linf", epsilons=(0.1, 0.3, 0.6)),
    "ifgm": IFGM(norm="l2", epsilons=(0.5, 1.0, 2.0), steps=4),
}
each_attack = pytest.mark.parametrize("name", ATTACKS)


def float32() -> tuple[nn.Module, Tensor, Tensor]:
    batch = examples(smooth())
    return smooth(dtype=torch.float32), batch.images.float(), batch.labels


@each_attack
def test_arrays_and_functions(name: str) -> None:
    model, images, labels = float32()
    expected = ATTACKS[name](model, images, labels)
    assert expected.nonfinite_gradients is not None and not expected.nonfinite_gradients.any()
    result = ATTACKS[name](lambda x: model(x), images.numpy(), labels.numpy())  # type: ignore[arg-type]
    for rule, kept in expected.items():
        assert torch.equal(result[rule].images, kept.images)


@each_attack
def test_inference_mode(name: str) -> None:
    model, images, labels = float32()
    expected = ATTACKS[name](model, images, labels)
    with torch.inference_mode():
        result = ATTACKS[name](model, images * 1, labels * 1)
    for rule, kept in expected.items():
        assert torch.equal(result[rule].images, kept.images)


@each_attack
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_searched_in_float32(name: str, dtype: torch.dtype) -> None:
    model, images, labels = float32()
    expected = ATTACKS[name](model, images, labels)
    result = ATTACKS[name](smooth(dtype=torch.float32).to(dtype), images.to(dtype), labels)
    for rule, kept in expected.items():
        assert result[rule].images.dtype == torch.float32
        assert (result[rule].success == kept.success).float().mean() >= 0.75
        assert result[rule].success.sum() > 0


@each_attack
def test_logits_of_another_type_than_the_images(name: str) -> None:
    model, images, labels = float32()
    result = ATTACKS[name](nn.Sequential(model, Half()), images, labels)
    assert all(kept.success.any() and kept.images.dtype == torch.float32 for kept in result.values())
    lower = ATTACKS[name](LowerPrecision(nn.Sequential(model, Half()), "bf16"), images, labels)
    assert all(kept.success.any() and kept.images.dtype == torch.float32 for kept in lower.values())


class Half(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return logits.half()


@each_attack
def test_a_value_beyond_1_by_rounding_is_clipped(name: str) -> None:
    model, images, labels = float32()
    images[0, 0, 0, 0] = 1 + 2**-23
    for kept in ATTACKS[name](model, images, labels).values():
        assert kept.images.max() <= 1


@each_attack
def test_true_labels_for_targets_are_warned_of(name: str) -> None:
    model, images, _ = float32()
    reached = model(images).argmax(1)
    with pytest.warns(UserWarning, match="every image has its target class already.*targeted=False"):
        ATTACKS[name](model, images, reached)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ATTACKS[name](model, images, (reached + 1) % 4)


@pytest.mark.parametrize("name", ["ead", "fgm"])
def test_true_labels_with_some_errors_are_warned_of(name: str) -> None:
    model, images, _ = float32()
    reached = model(images).argmax(1)
    reached[0] = (reached[0] + 1) % 4
    with pytest.warns(UserWarning, match=r"each of \d among 8 images has its target class already"):
        ATTACKS[name](model, images, reached)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda model: lambda x: model(x) * torch.nan, "the model's logits are not finite; check its weights"),
        (lambda model: lambda x: model(x).detach(), "the model cannot be attacked: its logits have no gradient"),
        (lambda model: lambda x: model(x.sub_(0.5)), "the model cannot be attacked: it writes to its input"),
        (lambda model: lambda x: model(x).numpy(), r"must return logits \(N, K >= 2\): .* got a ndarray"),
        (lambda model: lambda x: (model(x),), r"must return logits \(N, K >= 2\): .* got a tuple"),
    ],
)
@each_attack
def test_a_model_that_cannot_be_attacked_is_refused_in_one_line(name: str, function: Any, message: str) -> None:
    model, images, labels = float32()
    with pytest.raises(ValueError, match=message) as raised:
        ATTACKS[name](function(model), images, labels)
    assert "\n" not in str(raised.value)


def test_a_model_built_in_inference_mode_is_refused() -> None:
    _, images, labels = float32()
    with torch.inference_mode():
        model = smooth(dtype=torch.float32)
    with pytest.raises(ValueError, match=r"built under torch\.inference_mode"):
        ATTACKS["fgm"](model, images, labels)


@each_attack
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_model_of_another_type_than_its_images(name: str, dtype: torch.dtype) -> None:
    """float64 is NumPy's default: its images are searched in float64, by a model in float32."""
    model, images, labels = float32()
    if dtype == torch.float64:
        result = ATTACKS[name](model, images.double().numpy(), labels.numpy().astype("uint16"))
    else:
        result = ATTACKS[name](model.to(dtype), images, labels)
    for kept in result.values():
        assert kept.success.any()
        assert kept.images.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_probabilities_are_warned_of() -> None:
    model, images, labels = float32()
    with pytest.warns(UserWarning, match="seems to return probabilities"):
        ATTACKS["fgm"](nn.Sequential(model, nn.Softmax(1)), images, labels)


class Rooted(nn.Module):
    """A network of the root of its images, whose slope at 0 is infinite."""

    def __init__(self) -> None:
        super().__init__()
        self.network = smooth(dtype=torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x.sqrt())
        return logits


@each_attack
def test_one_infinite_slope_leaves_the_other_pixels_theirs(name: str) -> None:
    """With one pixel at 0, examples still succeed; above it, its own slope helps more of them."""
    _, images, labels = float32()
    above = images.clamp(min=0.05)
    above[:, 0, 0, 0] = 1e-3
    at_zero = above.clone()
    at_zero[:, 0, 0, 0] = 0
    expected, result = (ATTACKS[name](Rooted(), x, labels) for x in (above, at_zero))
    broken = result.nonfinite_gradients
    assert broken is not None and (broken <= result.iterations).all()
    if name not in ("cw", "cov"):  # these start a hair inside, where every slope is finite
        assert (broken >= 1).all()
    for rule, kept in expected.items():
        assert kept.success.any()
        assert result[rule].success.sum() >= kept.success.sum() / 2
