"""HopSkipJump on planes, whose least distances and normals are known, and query by query on a line."""

import math
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from eadbench.attacks import Budgeted, HopSkipJump, distances
from eadbench.attacks.contract.victims import Counting, half_space, labels_to_attack, small_images, small_net
from eadbench.attacks.engine.draws import generator, seeds_of
from eadbench.attacks.hopskipjump import normal_of

Norm = Literal["l2", "linf"]
NORMS: tuple[Norm, ...] = ("l2", "linf")


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("targeted", [True, False])
def test_it_comes_to_the_least_distance_of_a_plane(norm: Norm, targeted: bool) -> None:
    model, images, least = half_space(norm, 0.0)
    labels = torch.full((4,), int(targeted))
    few, many = (
        getattr(HopSkipJump(norm=norm, steps=steps, targeted=targeted)(model, images, labels)[norm], norm) / least - 1
        for steps in (3, 30)
    )
    assert (many >= -1e-6).all() and many.max() < 0.02 and many.mean() < few.mean() / 3


class Recorded(nn.Module):
    """The decisions of a model alone; records its queries."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.queries = model, list[Tensor]()

    def forward(self, x: Tensor) -> Tensor:
        self.queries.append(x.detach())
        logits: Tensor = self.model(x)
        return 9 * torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1]).to(x) + 0 * logits


@pytest.mark.parametrize("norm", NORMS)
def test_the_queries_are_those_of_algorithm_2(norm: Norm) -> None:
    """One example, two steps: its start, searches, estimates and steps, redone from the decisions."""
    model, images = small_net().double(), small_images(1).double()
    label = labels_to_attack(model, images, targeted=False)
    victim = Recorded(model)
    HopSkipJump(norm=norm, steps=2, initial_queries=30, targeted=False)(victim, images, label)
    queries = iter([x for batch in victim.queries[1:-1] for x in batch])  # without the first look and the last test
    image, d = images[0], images.numel()
    [seed] = seeds_of(images, label, 0)

    def is_adversarial(x: Tensor) -> bool:
        return bool(model(x[None]).argmax(1) != label)

    def ask(expected: Tensor) -> bool:
        torch.testing.assert_close(next(queries), expected)
        return is_adversarial(expected)

    def between(x: Tensor, share: float) -> Tensor:
        if norm == "l2":
            return (1 - share) * image + share * x
        return x.clamp(image - share, image + share)

    def search(x: Tensor) -> Tensor:
        low, high = 0.0, 1.0 if norm == "l2" else (x - image).abs().max().item()
        limit = d ** (-1.5 if norm == "l2" else -2.0) * min(high, 1.0)
        while True:
            middle = (low + high) / 2
            low, high = (low, middle) if ask(between(x, middle)) else (middle, high)
            if high - low <= limit:
                return between(x, high)

    assert not ask(image)
    draw = 1
    while not ask(x := torch.rand(image.shape, generator=generator(seed, draw)).double()):
        draw += 1
    measure = (lambda x: (x - image).norm().item()) if norm == "l2" else (lambda x: (x - image).abs().max().item())
    for t in (1, 2):
        before, boundary = x, search(x)
        radius, count = 0.1 if t == 1 else measure(before) / d, int(30 * math.sqrt(t))
        state = generator(seed, 1000 + t)
        if norm == "l2":
            noise = torch.randn(count, *image.shape, generator=state).double()
        else:
            noise = 2 * torch.rand(count, *image.shape, generator=state).double() - 1
        noise = noise / noise.flatten(1).norm(dim=1)[:, None, None, None]
        decisions, moved = [], []
        for u in noise:
            point = (boundary + radius * u).clamp(0, 1)
            decisions.append(1.0 if ask(point) else -1.0)
            moved.append((point - boundary) / radius)
        mean = sum(decisions) / count
        assert -1 < mean < 1
        v = sum(((phi - mean) * u for phi, u in zip(decisions, moved, strict=True)), torch.zeros_like(image))
        v = v / v.norm() if norm == "l2" else v.sign()
        size = measure(boundary) / math.sqrt(t)
        while not ask(x := (boundary + size * v).clamp(0, 1)):
            size /= 2
    search(x)
    assert next(queries, None) is None


def test_the_estimate_is_along_the_normal() -> None:
    """Its cosine with the normal of a plane in d dimensions, from M decisions, is near √(2M/πd) / √(1 + 2M/πd)."""
    state, d, count = torch.Generator().manual_seed(0), 100, 400
    directions = distances.unit(torch.randn(count, 1, 10, 10, generator=state))
    normal = distances.unit(torch.randn(1, 1, 10, 10, generator=state))[0]
    estimate = normal_of(directions, (directions * normal).flatten(1).sum(1) > 0)
    signal = 2 * count / math.pi / d
    cosine = (distances.unit(estimate[None])[0] * normal).sum().item()
    assert cosine == pytest.approx(math.sqrt(signal / (1 + signal)), abs=0.05)


def test_decisions_that_all_agree_give_their_mean() -> None:
    directions = torch.randn(5, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(normal_of(directions, torch.ones(5, dtype=torch.bool)), directions.mean(0))
    torch.testing.assert_close(normal_of(directions, torch.zeros(5, dtype=torch.bool)), -directions.mean(0))


class Bright(nn.Module):
    """Two classes; images whose mean is above 0.95 have class 1, so that no random image has."""

    def forward(self, x: Tensor) -> Tensor:
        lead = x.flatten(1).mean(1) - 0.95
        return torch.stack([-lead, lead], 1)


def test_an_example_without_a_start_fails_after_its_draws() -> None:
    victim = Counting(Bright())
    result = HopSkipJump(norm="l2", starts=20)(victim, small_images(2), torch.tensor([1, 1]))
    assert not result["l2"].success.any() and result.forward_passes.tolist() == [22, 22]
    assert victim.backwards == 0 and result.iterations.tolist() == [0, 0]


@pytest.mark.parametrize("budget", [150, 700])
def test_a_budget_is_kept_and_pays_for_what_was_found(budget: int) -> None:
    model, images, least = half_space("l2", 0.0)
    victim = Counting(model)
    result = Budgeted(attack=HopSkipJump(norm="l2"), budget=budget)(victim, images, torch.ones(4, dtype=torch.int64))
    assert result.forward_passes.tolist() == [budget] * 4
    assert result["l2"].success.all() and (result["l2"].l2 >= least).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"norm": "l1"}, "norm must be one of l2, linf"),
        ({"norm": "l2", "initial_queries": 0}, "initial_queries must be at least 1, got 0"),
        ({"norm": "l2", "starts": 0}, "starts must be at least 1, got 0"),
    ],
)
def test_mistakes(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HopSkipJump(**wrong)
