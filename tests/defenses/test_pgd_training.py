"""PGD training: its attack against closed forms on a linear model, and the state that it must not change."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from eadbench import models
from eadbench.defenses.pgd_training import PGDTraining
from eadbench.models import Training
from tests.models.test_training import recipe

NORMS = ["linf", "l2", "l1"]
LABELS = torch.tensor([0, 1, 0, 1])


def images(low: float = 0.0, high: float = 1.0, *, count: int = 4) -> Tensor:
    drawn = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    return low + (high - low) * drawn


def linear() -> nn.Sequential:
    """Two classes: the loss rises along the difference of their weights."""
    with models.seeded(0):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 2))


def uphill(model: nn.Sequential) -> Tensor:
    """The direction in which the loss of each image rises, (4, 1, 8, 8)."""
    weight = model.get_parameter("1.weight").detach()
    return torch.stack([weight[1 - label] - weight[label] for label in LABELS]).reshape(4, 1, 8, 8)


def lengths(delta: Tensor, norm: str) -> Tensor:
    return delta.flatten(1).norm(p={"linf": torch.inf, "l2": 2, "l1": 1}[norm], dim=1)


def perturbed(defense: PGDTraining, model: nn.Module, given: Tensor, labels: Tensor = LABELS, seed: int = 0) -> Tensor:
    with models.seeded(seed):
        return defense.perturb(model, given, labels)


def test_linf_reaches_the_corner_of_the_ball_and_the_box() -> None:
    model, given = linear(), images()
    x = perturbed(PGDTraining(epsilon=0.1, steps=10), model, given)
    torch.testing.assert_close(x, (given + 0.1 * uphill(model).sign()).clamp(0, 1), rtol=0, atol=1e-6)


def test_l2_reaches_the_point_of_the_ball_along_the_gradient() -> None:
    """For gradients of any length: images far from the boundary have a small one."""
    model, given = linear(), images(0.4, 0.6)
    x = perturbed(PGDTraining(norm="l2", epsilon=0.2, steps=200, step_size=0.05), model, given)
    along = uphill(model)
    expected = given + 0.2 * along / lengths(along, "l2")[:, None, None, None]
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-4)


def test_l1_spends_the_ball_on_the_greatest_derivative() -> None:
    """One value of 64 has room for all of ε."""
    model, given = linear(), images(0.4, 0.6)
    x = perturbed(PGDTraining(norm="l1", epsilon=0.3, steps=200, step_size=0.05), model, given)
    along = uphill(model).flatten(1)
    greatest = functional.one_hot(along.abs().argmax(1), 64)
    expected = given + 0.3 * (greatest * along.sign()).view_as(given)
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("epsilon", [0.5, 3.0, 20.0])
def test_l1_goes_on_to_values_with_room(epsilon: float) -> None:
    """The best is greedy: change the values of the greatest derivatives as far as [0, 1] allows, until ε is spent."""
    model, given = linear(), images()
    x = perturbed(PGDTraining(norm="l1", epsilon=epsilon, steps=400, step_size=0.02 * epsilon), model, given)
    along = uphill(model).flatten(1)
    order = along.abs().argsort(dim=1, descending=True)
    room = torch.where(along > 0, 1 - given.flatten(1), given.flatten(1)).gather(1, order)
    spent = torch.minimum(room, (epsilon - (room.cumsum(1) - room)).clamp_min(0))
    best = (along.abs().gather(1, order) * spent).sum(1)
    gained = ((x - given).flatten(1) * along).sum(1)
    assert (gained <= best * (1 + 1e-5)).all() and (gained >= 0.99 * best).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_step_is_as_long_as_it_should_be(norm: Any) -> None:
    """Check the length of a step from the same start, for gradients of any length."""
    model, given = linear(), images(0.4, 0.6)
    one_step = PGDTraining(norm=norm, epsilon=0.3, steps=1, step_size=0.02)
    start = perturbed(replace(one_step, step_size=1e-12), model, given)
    along = uphill(model)
    along = along.sign() if norm == "linf" else along / lengths(along, "l2")[:, None, None, None]
    delta = start + 0.02 * along - given
    outside = lengths(delta, norm)[:, None, None, None].clamp_min(0.3) / 0.3
    expected = given + (delta.clamp(-0.3, 0.3) if norm == "linf" else delta / outside)
    torch.testing.assert_close(perturbed(one_step, model, given), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("epsilon", [0.01, 0.3, 5.0])
@pytest.mark.parametrize(("steps", "step_size"), [(1, None), (7, None), (3, 100.0)])
def test_stays_in_the_ball_and_in_the_box(norm: Any, epsilon: float, steps: int, step_size: float | None) -> None:
    defense, given = PGDTraining(norm=norm, epsilon=epsilon, steps=steps, step_size=step_size), images()
    before = given.clone()
    x = perturbed(defense, linear(), given)
    assert (lengths(x - given, norm) <= epsilon * (1 + 1e-5)).all()
    assert x.min() >= 0 and x.max() <= 1
    assert not x.requires_grad and torch.equal(given, before)


@pytest.mark.parametrize("norm", NORMS)
def test_starts_at_random_in_the_ball(norm: Any) -> None:
    """With tiny steps, only the start is left: it fills the ball, and depends on the seed."""
    given, labels = torch.full((500, 1, 8, 8), 0.5), torch.zeros(500, dtype=torch.long)
    defense = PGDTraining(norm=norm, epsilon=0.2, steps=1, step_size=1e-9)
    one, again, other = (perturbed(defense, linear(), given, labels, seed) for seed in (0, 0, 1))
    assert torch.equal(one, again) and not torch.equal(one, other)
    delta = one - given
    spread = delta if norm == "linf" else lengths(delta, norm)
    assert spread.max() == pytest.approx(0.2, rel=0.02)
    assert spread.mean() == pytest.approx(0.0 if norm == "linf" else 0.1, abs=0.01)
    assert delta.mean() == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("norm", NORMS)
def test_step_size_unless_given(norm: Any) -> None:
    default = PGDTraining(norm=norm, epsilon=0.2, steps=5)
    given, other = replace(default, step_size=0.1), replace(default, step_size=0.01)
    x = [perturbed(defense, linear(), images()) for defense in (default, given, other)]
    assert torch.equal(x[0], x[1]) and not torch.equal(x[0], x[2])


@pytest.mark.parametrize("norm", NORMS)
def test_rows_without_a_gradient_leave_the_others_be(norm: Any) -> None:
    """The network multiplies the first two images by zero."""

    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = linear()

        def forward(self, x: Tensor) -> Tensor:
            seen = torch.tensor([0.0, 0.0, 1.0, 1.0])[:, None, None, None]
            logits: Tensor = self.inner(x * seen)
            return logits

    given, defense = images(0.4, 0.6), PGDTraining(norm=norm, epsilon=0.1, steps=10)
    x, full = (perturbed(defense, model, given) for model in (Half(), linear()))
    assert x.isfinite().all() and (lengths(x - given, norm) <= 0.1 * (1 + 1e-5)).all()
    assert torch.equal(x[2:], full[2:]) and not torch.equal(x[:2], full[:2])


def test_attacks_the_network_as_it_is_used() -> None:
    """The attack uses neither dropout nor new batch statistics, and does not change the network."""
    with models.seeded(0):
        layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5)]
        model = nn.Sequential(*layers, nn.Linear(144, 2))
    defense = PGDTraining(epsilon=0.1, steps=3)
    expected = perturbed(defense, model.eval(), images())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    assert torch.equal(perturbed(defense, model, images()), expected)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_training_repeats_bit_for_bit_and_sees_the_examples() -> None:
    data = TensorDataset(images(count=40), torch.arange(40) % 10)
    training = Training(epochs=2, batch_size=20)

    def weights(defense: PGDTraining, seed: int = 0) -> list[Tensor]:
        before = torch.get_rng_state()
        model = defense.train(recipe(replace(training, seed=seed)), data)
        assert torch.equal(torch.get_rng_state(), before) and not model.training
        return [*model.state_dict().values()]

    defense = PGDTraining(epsilon=0.1, steps=2)
    first = weights(defense)
    assert all(map(torch.equal, first, weights(defense)))
    for other in (weights(defense, seed=1), weights(replace(defense, epsilon=0.2)), weights(replace(defense, steps=3))):
        assert not all(map(torch.equal, first, other))


def test_weights_that_are_given_cannot_be_trained() -> None:
    published = recipe(None, parameters={"weights": "DEFAULT"})
    with pytest.raises(ValueError, match=r"^training is missing: PGD training"):
        PGDTraining(epsilon=0.1, steps=1).needs(published)
    assert PGDTraining(epsilon=0.1, steps=1).needs(recipe(Training(epochs=1))) == {}


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("field", ["epsilon", "step_size"])
def test_refuses_what_is_no_length(field: str, value: float) -> None:
    fields: dict[str, Any] = {"epsilon": 0.1, "steps": 1, field: value}
    with pytest.raises(ValueError, match=f"^{field} must be above 0 and finite, got {value}"):
        PGDTraining(**fields)
