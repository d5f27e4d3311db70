"""ZOO against a slow transcription, and against C&W, which sees the gradients that ZOO estimates."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from eadbench.attacks import ZOO, Budgeted, CarliniWagner
from eadbench.attacks.contract.victims import Counting, labels_to_attack, small_images, small_net
from eadbench.attacks.engine.draws import generator, seeds_of
from eadbench.attacks.zoo_descent import importance
from tests.attacks.models import Crowded

FEW: dict[str, Any] = {"binary_search_steps": 1, "initial_const": 3.0, "abort_early": False, "coordinates": 5}


def seen_by(attack: ZOO, model: nn.Module, image: Tensor, label: Tensor) -> Tensor:
    """The iterates of one example: the first query of each iteration."""
    queries: list[Tensor] = []

    class Seeing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            queries.append(x.detach())
            logits: Tensor = model(x)
            return logits

    attack(Seeing(), image[None], label[None])
    return torch.stack([x[0] for x in queries[1:-1]])  # without the first look and the last test


def by_hand(attack: ZOO, model: nn.Module, image: Tensor, label: Tensor) -> Tensor:
    """The iterates, coordinate by coordinate, with the slopes of autograd on the logarithms of probabilities."""
    x, count = image.flatten().clone(), image.numel()
    mean, square, taken = ([0.0] * count for _ in range(3))
    [seed] = seeds_of(image[None], label[None], attack.seed)
    iterates = []
    for k in range(attack.max_iterations):
        iterates.append(x.view_as(image).clone())
        leaf = x.clone().requires_grad_()
        logarithms = model(leaf.view(1, *image.shape)).softmax(1).log()[0]
        others = torch.cat([logarithms[:label], logarithms[label + 1 :]]).max()
        f = (others - logarithms[label]).clamp(min=-float(attack.kappa))
        objective = attack.initial_const * f + (leaf - image.flatten()).square().sum()
        (slopes,) = torch.autograd.grad(objective, leaf)
        for i in torch.randperm(count, generator=generator(seed, k))[: attack.coordinates].tolist():
            slope, taken[i] = slopes[i].item(), taken[i] + 1
            mean[i] = 0.9 * mean[i] + 0.1 * slope
            square[i] = 0.999 * square[i] + 0.001 * slope**2
            root = (square[i] / (1 - 0.999 ** taken[i])) ** 0.5 + 1e-8
            x[i] = (x[i] - attack.learning_rate * mean[i] / (1 - 0.9 ** taken[i]) / root).clamp(0, 1)
    return torch.stack(iterates)


def test_every_iterate_is_that_of_the_slow_transcription() -> None:
    """Each coordinate has its own step count: a shared one would shorten the first step of those that come late."""
    model, images = small_net().double(), small_images(3).double()
    labels = labels_to_attack(model, images, targeted=True)
    attack = ZOO(**FEW, max_iterations=25, learning_rate=0.03)
    for image, label in zip(images, labels, strict=True):
        seen, expected = seen_by(attack, model, image, label), by_hand(attack, model, image, label)
        torch.testing.assert_close(seen, expected, rtol=0, atol=2e-6)  # at 0 and 1 the differences are one-sided


def reduced_by_hand(attack: ZOO, model: nn.Module, image: Tensor, label: Tensor) -> Tensor:
    """The iterates in an attack space that grows, with the slopes of autograd through bilinear interpolation."""
    assert attack.size is not None
    y, h = torch.zeros(1, 1, attack.size, attack.size).double(), image.shape[1]
    mean, square, taken = (torch.zeros(y.numel()).double() for _ in range(3))
    [seed] = seeds_of(image[None], label[None], attack.seed)
    iterates = []
    for k in range(attack.max_iterations):
        if k in attack.grow_at:
            y = functional.interpolate(y, scale_factor=2, mode="bilinear")
            mean, square, taken = (torch.zeros(y.numel()).double() for _ in range(3))
        leaf = y.clone().requires_grad_()
        x = image + functional.interpolate(leaf, [h, h], mode="bilinear")
        iterates.append(x.detach()[0])
        logarithms = model(x).softmax(1).log()[0]
        others = torch.cat([logarithms[:label], logarithms[label + 1 :]]).max()
        f = (others - logarithms[label]).clamp(min=0)
        (slopes,) = torch.autograd.grad(attack.initial_const * f + (x - image).square().sum(), leaf)
        order = torch.randperm(y.numel(), generator=generator(seed, k))
        if attack.importance and k >= attack.grow_at[0]:  # a region is a pixel here
            uniform = torch.rand(y.numel(), generator=generator(seed, k)).double()
            order = (uniform.log() / y.abs().flatten().clamp(min=1e-12)).argsort(descending=True)
        for i in order[: attack.coordinates].tolist():
            slope, taken[i] = slopes.flatten()[i], taken[i] + 1
            mean[i] = 0.9 * mean[i] + 0.1 * slope
            square[i] = 0.999 * square[i] + 0.001 * slope**2
            root = (square[i] / (1 - 0.999 ** taken[i])) ** 0.5 + 1e-8
            y.view(-1)[i] -= attack.learning_rate * mean[i] / (1 - 0.9 ** taken[i]) / root
    return torch.stack(iterates)


@pytest.mark.parametrize("more", [{"size": 2}, {"size": 2, "grow_at": (6,), "importance": True}])
def test_a_smaller_attack_space_is_that_of_the_slow_transcription(more: dict[str, Any]) -> None:
    model, images = small_net().double(), 0.3 + 0.4 * small_images(3).double()
    labels = labels_to_attack(model, images, targeted=True)
    attack = ZOO(**FEW | {"coordinates": 3}, max_iterations=12, learning_rate=0.02, **more)
    for image, label in zip(images, labels, strict=True):
        seen, expected = seen_by(attack, model, image, label), reduced_by_hand(attack, model, image, label)
        torch.testing.assert_close(seen, expected, rtol=0, atol=2e-6)


def test_rows_of_different_attack_spaces_do_not_depend_on_their_batch() -> None:
    """The abort ends searches at different times, so that rows of one batch are in different spaces."""
    model, images = small_net().double(), small_images(4).double()
    labels = labels_to_attack(model, images, targeted=True)
    settings: dict[str, Any] = {"size": 1, "grow_at": [5, 11], "importance": True, "coordinates": 4}
    attack = ZOO(binary_search_steps=3, max_iterations=20, learning_rate=0.1, initial_const=1.0, **settings)
    whole = attack(model, images, labels)
    for i in range(4):
        alone = attack(model, images[i : i + 1], labels[i : i + 1])
        assert alone.forward_passes == whole.forward_passes[i]
        torch.testing.assert_close(alone["l2"].images[0], whole["l2"].images[i])


def test_weights_are_the_greatest_change_in_each_region() -> None:
    y = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).double()
    y[0, 1, :4] = 0
    weights = importance(y)
    for image, channel, row, column in product(range(2), range(3), range(16), range(16)):
        down, across = row - row % 2, column - column % 2
        expected = y[image, channel, down : down + 2, across : across + 2].abs().max().clamp(min=1e-12)
        assert weights[image, channel, row, column] == expected


def test_it_comes_near_the_distance_of_cw() -> None:
    model, images = small_net(), small_images()
    labels = labels_to_attack(model, images, targeted=True)
    search: dict[str, Any] = {"binary_search_steps": 5, "max_iterations": 150, "learning_rate": 0.02}
    white = CarliniWagner(**search, initial_const=0.1)(model, images, labels)["l2"]
    black = ZOO(**search, initial_const=0.1)(model, images, labels)["l2"]
    assert white.success.all() and black.success.all()
    assert black.l2.mean() <= 1.02 * white.l2.mean()


def test_probabilities_that_round_to_0_and_1_have_slopes() -> None:
    """Logits of ±100: softmax is 0 or 1 in float32, and a difference of its logarithms would be 0 or infinite."""

    class Loud(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            total = 100 * (x.flatten(1).mean(1) - 0.8)
            return torch.stack([-total, total], 1)

    attack = ZOO(binary_search_steps=2, max_iterations=60, learning_rate=0.03, initial_const=1.0)
    result = attack(Loud(), torch.full((1, 1, 4, 4), 0.3), torch.tensor([1]))
    assert result["l2"].success.all() and result["l2"].l2.item() == pytest.approx(4 * 0.5, rel=0.02)


def test_queries_are_counted_and_there_are_no_gradients() -> None:
    images = small_images(2)
    labels = labels_to_attack(small_net(), images, targeted=True)
    victim = Counting(small_net())
    result = ZOO(**FEW, max_iterations=7)(victim, images, labels, batch_size=16)
    assert victim.backwards == 0 and result.iterations.tolist() == [0, 0] and result.computed == 0
    assert result.forward_passes.tolist() == [7 * 11 + 1] * 2
    assert victim.forwards == 2 * (7 * 11 + 1) + 2  # and the first look


@pytest.mark.parametrize("budget", [60, 77, 1000])
def test_a_budget_ends_within_an_iteration(budget: int) -> None:
    images = small_images(3)
    labels = labels_to_attack(small_net(), images, targeted=True)
    victim = Counting(small_net())
    result = Budgeted(attack=ZOO(**FEW, max_iterations=30), budget=budget)(victim, images, labels)
    assert (result.iterations + result.forward_passes).tolist() == [min(budget, 30 * 11)] * 3


def test_memory_for_few_images_gives_the_same_rows() -> None:
    images = small_images(3)
    labels = labels_to_attack(small_net(), images, targeted=True)
    attack = ZOO(**FEW, max_iterations=20)
    whole = attack(small_net(), images, labels)["l2"]
    crowded = attack(Crowded(small_net(), 8), images, labels)["l2"]
    torch.testing.assert_close(crowded.images, whole.images)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"coordinates": 0}, "coordinates must be at least 1, got 0"),
        ({"h": 0.0}, r"h must be in \(0, 1\), got 0.0"),
        ({"max_iterations": 0}, "max_iterations must be at least 1, got 0"),
        ({"size": 0}, "size must be at least 1, got 0"),
        ({"size": 2, "grow_at": [5, 5]}, r"grow_at must ascend from above 0, got \[5, 5\]"),
        ({"grow_at": [5]}, "grow_at needs a size"),
        ({"size": 2, "importance": True}, "importance needs grow_at"),
    ],
)
def test_mistakes(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ZOO(**wrong)
