"""TRADES, stability training, bounded ReLUs and ensemble adversarial training: their losses on fixed tensors."""

import math
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from eadbench import models
from eadbench.defenses import DEFENSES
from eadbench.defenses.brelu_augmentation import BReLUAugmentation
from eadbench.defenses.ensemble_adversarial_training import EnsembleAdversarialTraining
from eadbench.defenses.stability_training import StabilityTraining
from eadbench.defenses.trades import Trades, divergence
from eadbench.models import Training
from tests.models.test_training import recipe

IMAGES = torch.tensor([[0.2, 0.9], [0.5, 0.4], [0.7, 0.1]]).view(3, 1, 1, 2)
LABELS = torch.tensor([0, 1, 1])


class Seen(nn.Module):
    """Two classes by a fixed linear map; records the images that it is given in train mode."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.seen = nn.Parameter(torch.tensor([[1.0, -2.0], [0.5, 3.0]])), list[Tensor]()

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen.append(x.detach())
        return x.flatten(1) @ self.weight.T


def softmax_by_hand(x: Tensor) -> list[list[float]]:
    values = [[math.exp(value) for value in row] for row in Seen()(x).tolist()]
    return [[value / sum(row) for value in row] for row in values]


def cross_entropy_by_hand(x: Tensor, labels: Tensor = LABELS) -> float:
    return -sum(math.log(row[label]) for row, label in zip(softmax_by_hand(x), labels.tolist(), strict=True)) / len(x)


def divergence_by_hand(x: Tensor, other: Tensor) -> float:
    """Mean of Σ p log(p / q)."""
    rows = zip(softmax_by_hand(x), softmax_by_hand(other), strict=True)
    return sum(p * math.log(p / q) for own, theirs in rows for p, q in zip(own, theirs, strict=True)) / len(x)


def test_the_divergence_is_that_of_the_second_argument_from_the_first() -> None:
    other = IMAGES.roll(1, 0)
    found = divergence(Seen()(IMAGES), Seen()(other)).item()
    assert found == pytest.approx(divergence_by_hand(IMAGES, other), rel=1e-5)
    assert found != pytest.approx(divergence_by_hand(other, IMAGES), rel=1e-2)


def test_trades_is_the_cross_entropy_of_the_images_and_beta_times_the_divergence() -> None:
    model = Seen()
    with models.seeded(0):
        value = Trades(epsilon=0.1, beta=6.0).objective(model, IMAGES, LABELS, functional.cross_entropy)
    clean, worst = model.seen
    assert torch.equal(clean, IMAGES)
    expected = cross_entropy_by_hand(IMAGES) + 6 * divergence_by_hand(IMAGES, worst)
    assert value.item() == pytest.approx(expected, rel=1e-5)
    value.backward()
    assert model.weight.grad is not None and model.weight.grad.abs().sum() > 0


def test_the_inner_problem_of_trades_ends_at_the_worst_of_two_opposite_corners() -> None:
    """Of a linear model, the divergence grows along ±w only; from noise, each image takes one of the two ways."""
    images = torch.full((40, 1, 1, 2), 0.5)
    with models.seeded(0):
        worst = Trades(epsilon=0.1, steps=10).perturb(Seen(), images)
    ways = ((worst - images) / 0.1).flatten(1)
    assert torch.allclose(ways.abs(), torch.ones(40, 2), atol=1e-5)
    assert (ways[:, 0] == -ways[:, 1]).all() or torch.allclose(ways[:, 0], -ways[:, 1], atol=1e-5)
    assert 0 < (ways[:, 0] > 0).sum() < 40


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_the_inner_problem_of_trades_ends_at_the_ends_of_the_ball_of_its_norm(norm: Literal["l1", "l2"]) -> None:
    """Of a linear model, the divergence grows along the difference of its weights, (0.5, -5)."""
    images, epsilon = torch.full((40, 1, 1, 2), 0.5), 0.2
    with models.seeded(0):
        worst = Trades(norm=norm, epsilon=epsilon, steps=50, step_size=0.05).perturb(Seen(), images)
    way = {"l1": torch.tensor([0.0, 1.0]), "l2": torch.tensor([-0.5, 5.0]) / math.hypot(0.5, 5.0)}[norm]
    ends = (worst - images).flatten(1) / epsilon
    assert torch.allclose(ends @ way, (ends @ way).sign(), atol=1e-3) and 0 < (ends @ way > 0).sum() < 40
    assert torch.allclose(ends, (ends @ way)[:, None] * way, atol=1e-3)


def test_stability_training_keeps_noise_out_of_the_cross_entropy() -> None:
    model, judged = Seen(), list[Tensor]()

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        judged.append(logits.detach())
        return functional.cross_entropy(logits, labels)

    with models.seeded(0):
        value = StabilityTraining(alpha=0.5, sigma=0.3).objective(model, IMAGES, LABELS, loss)
    clean, noisy = model.seen
    assert torch.equal(clean, IMAGES) and len(judged) == 1
    torch.testing.assert_close(judged[0], Seen()(IMAGES))
    expected = cross_entropy_by_hand(IMAGES) + 0.5 * divergence_by_hand(IMAGES, noisy)
    assert value.item() == pytest.approx(expected, rel=1e-5)
    many = torch.full((2000, 1, 1, 2), 0.5)
    StabilityTraining(sigma=0.3).objective(model, many, torch.zeros(2000, dtype=torch.int64), functional.cross_entropy)
    assert (model.seen[-1] - many).std().item() == pytest.approx(0.3, rel=0.05)


def test_bounded_relus_train_on_images_and_noisy_copies() -> None:
    model = Seen()
    with models.seeded(0):
        value = BReLUAugmentation(sigma=0.3).objective(model, IMAGES, LABELS, functional.cross_entropy)
    [both] = model.seen
    assert torch.equal(both[:3], IMAGES) and both.min() >= 0 and both.max() <= 1 and not torch.equal(both[3:], IMAGES)
    expected = (cross_entropy_by_hand(IMAGES) + cross_entropy_by_hand(both[3:])) / 2
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_bounded_relus_are_clipped_and_have_the_weights_of_the_network() -> None:
    network = models.build_network(recipe(Training(epochs=1))).eval()
    bounded = BReLUAugmentation(bound=0.5).wrap(network)
    assert bounded.state_dict().keys() == network.state_dict().keys()
    outputs: list[Tensor] = []
    for module in bounded.modules():
        assert not isinstance(module, nn.ReLU)
        if isinstance(module, nn.Hardtanh):
            module.register_forward_hook(lambda _, __, output: outputs.append(output))
    bounded(torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert len(outputs) == 6 and all(output.min() >= 0 and output.max() <= 0.5 for output in outputs)
    assert any(isinstance(module, nn.ReLU) for module in network.modules())


def test_one_step_examples_move_away_from_the_predicted_class() -> None:
    """As FGM at ε from the prediction, whatever the labels say."""
    source = Seen().eval()
    crafted = EnsembleAdversarialTraining(epsilon=0.05).craft(source, IMAGES)
    predicted = source(IMAGES).argmax(1)
    x = IMAGES.clone().requires_grad_()
    (uphill,) = torch.autograd.grad(functional.cross_entropy(source(x), predicted, reduction="sum"), x)
    torch.testing.assert_close(crafted, (IMAGES + 0.05 * uphill.sign()).clamp(0, 1))
    assert not torch.equal(predicted, LABELS)


def test_ensemble_adversarial_training_is_half_clean_and_takes_every_source_in_turn() -> None:
    defense, model = EnsembleAdversarialTraining(epsilon=0.05), Seen()
    sources = [Seen().eval(), Seen().eval()]
    with torch.no_grad():
        sources[0].weight.copy_(torch.tensor([[2.0, 2.0], [0.0, 0.0]]))
        sources[1].weight.copy_(torch.tensor([[1.0, 0.2], [0.1, 1.0]]))
    crafted = [defense.craft(each, IMAGES) for each in (*sources, model)]
    drawn = []
    with models.seeded(0):
        for _ in range(30):
            value = defense.objective(sources, model, IMAGES, LABELS, functional.cross_entropy)
            clean, adversarial = model.seen[-2:]
            assert torch.equal(clean, IMAGES)
            drawn.append([torch.equal(adversarial, each) for each in crafted].index(True))
            expected = (cross_entropy_by_hand(IMAGES) + cross_entropy_by_hand(adversarial)) / 2
            assert value.item() == pytest.approx(expected, rel=1e-5)
    assert set(drawn) == {0, 1, 2}


def test_the_sources_are_undefended_with_other_seeds_or_of_other_architectures() -> None:
    wanted = recipe(Training(epochs=2, seed=4), defense={"name": "ensemble_adversarial_training", "epsilon": 0.3})
    own = EnsembleAdversarialTraining(epsilon=0.3, sources=2).needs(wanted)
    assert [each.training.seed for each in own.values() if each.training] == [5, 6]
    others = EnsembleAdversarialTraining(epsilon=0.3, architectures=["cw_mnist", "digits"]).needs(wanted)
    assert [each.arch for each in others.values()] == ["cw_mnist", "digits"]
    assert all(each.defense == {"name": "none"} for each in (*own.values(), *others.values()))


DEFENDED: dict[str, dict[str, Any]] = {
    "trades": {"epsilon": 0.1, "steps": 2},
    "stability_training": {},
    "brelu_augmentation": {"sigma": 0.1},
    "ensemble_adversarial_training": {"epsilon": 0.1, "sources": 1},
}


@pytest.mark.parametrize("name", DEFENDED)
def test_training_repeats_bit_for_bit_and_keeps_the_caller_s_random_state(name: str) -> None:
    data = TensorDataset(torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(5)), torch.arange(40) % 10)
    wanted = recipe(Training(epochs=2, batch_size=20))
    defense, plain = DEFENSES[name](**DEFENDED[name]), DEFENSES["none"]()
    needed = {
        part: plain.train(each, data, needed={}, examples=None, fit=models.train)
        for part, each in defense.needs(wanted).items()
    }
    before = torch.get_rng_state()
    first, second = (
        defense.train(wanted, data, needed=needed, examples=None, fit=models.train).state_dict() for _ in range(2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    undefended = plain.train(wanted, data, needed={}, examples=None, fit=models.train).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not all(torch.equal(first[key], undefended[key]) for key in first)


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("trades", {"epsilon": 0.0}, "epsilon must be above 0 and finite, got 0.0"),
        ("trades", {"epsilon": 0.1, "steps": 0}, "steps must be at least 1, got 0"),
        ("stability_training", {"alpha": -1.0}, "alpha must be above 0 and finite, got -1.0"),
        ("brelu_augmentation", {"bound": 0.0}, "bound must be above 0 and finite, got 0.0"),
        ("squeezed", {}, "give bits, median or quality"),
        ("squeezed", {"bits": 9}, "bits must be 1 to 8, got 9"),
        ("ensemble_adversarial_training", {"epsilon": 0.1, "sources": 0}, "sources must be at least 1, got 0"),
    ],
)
def test_mistakes(name: str, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DEFENSES[name](**wrong)
