"""Square against a slow transcription query by query, its schedule, its ball, and mistakes."""

from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from eadbench.attacks import Square
from eadbench.attacks.contract.victims import Counting, half_space, labels_to_attack, small_images, small_net
from eadbench.attacks.criterion import margin
from eadbench.attacks.distances import NORMS
from eadbench.attacks.engine.draws import generator, seeds_of
from eadbench.attacks.engine.projections import l1_in_box
from tests.attacks.test_apgd import Noting

Norm = Literal["l1", "l2", "linf"]
ALL: tuple[Norm, ...] = ("l1", "l2", "linf")
CASES = [(norm, targeted) for norm in ALL for targeted in (True, False)]


def schedule(proposal: int, queries: int) -> float:
    """p after a number of proposals: the paper's table for 10,000, scaled."""
    at = proposal / queries * 10_000
    ends = ((10, 1), (50, 2), (200, 4), (500, 8), (1000, 16), (2000, 32), (4000, 64), (6000, 128), (8000, 256))
    return next((0.8 / halved for end, halved in ends if at <= end), 0.8 / 512)


def bumps(side: int, power: int) -> Tensor:
    """η, by loops."""

    def length(values: Tensor) -> Tensor:
        return values.norm() if power == 2 else values.abs().sum()

    def bump(height: int) -> Tensor:
        eta = torch.zeros(height, side)
        for r in range(height):
            for s in range(side):
                distance = max(abs(r - height // 2), abs(s - side // 2))
                for k in range(distance, max(height // 2, side // 2) + 1):
                    eta[r, s] += 1 / (k + 1) ** power
        return eta / length(eta) if height else eta

    eta = torch.cat([bump(side // 2), -bump(side - side // 2)])
    return eta / length(eta)


class Slow:
    """One example (C, H, W), its draws and its random search, with the windows as slices."""

    def __init__(self, norm: Norm, image: Tensor, seed: int, epsilon: float, queries: int) -> None:
        self.norm, self.image, self.seed, self.epsilon, self.queries = norm, image, seed, epsilon, queries
        self.channels, self.height, self.width = image.shape

    def first(self) -> Tensor:
        state, channels = generator(self.seed, 0), self.channels
        if self.norm == "linf":
            signs = torch.rand(channels, 1, self.width, generator=state)
            return (self.image + self.epsilon * torch.where(signs < 0.5, -1.0, 1.0)).clamp(0, 1)
        draws = torch.rand(self.height, self.width, 1 + channels, generator=state)  # tiles of one value
        signs = torch.where(draws[..., 1:] < 0.5, -1.0, 1.0).permute(2, 0, 1)
        return self.in_ball(-signs)

    def in_ball(self, delta: Tensor) -> Tensor:
        if self.norm == "l1":
            delta = l1_in_box(delta[None], torch.tensor([self.epsilon]), self.image[None])[0]
        else:
            delta = self.epsilon * delta / delta.norm()
        return (self.image + delta).clamp(0, 1)

    def proposal(self, x: Tensor, k: int) -> Tensor:
        """Query number k = 1, 2 … from the best iterate."""
        u = torch.rand(128, 5 + self.channels, generator=generator(self.seed, 1 + k // 128))[k % 128]
        side = round((schedule(k - 1, self.queries) * self.height * self.width) ** 0.5)
        side = max(1, side) if self.norm == "linf" else max(3, side) + (max(3, side) + 1) % 2
        side = min(side, self.height, self.width)
        top, left, second_top, second_left = (
            int(v * (size - side + 1)) for v, size in zip(u[:4], (self.height, self.width) * 2, strict=True)
        )
        signs = torch.where(u[5:] < 0.5, -1.0, 1.0)[:, None, None]
        first = (slice(None), slice(top, top + side), slice(left, left + side))
        second = (slice(None), slice(second_top, second_top + side), slice(second_left, second_left + side))
        if self.norm == "linf":
            new = x.clone()
            new[first] = (self.image[first] + self.epsilon * signs).clamp(0, 1)  # one side of the ball or the other
            return new
        power = 2 if self.norm == "l2" else 4
        delta = x - self.image
        eta = bumps(side, power)
        eta = eta.T if u[4] > 0.5 else eta
        union = torch.zeros_like(delta)
        union[first], union[second] = delta[first], delta[second]
        result = delta.clone()
        result[second] = 0
        for c in range(self.channels):
            own = delta[first][c]
            if self.norm == "l2":
                moved = signs[c] * eta + own / (own.norm() + 1e-12)
                left_over = max(self.epsilon**2 - delta.norm() ** 2, torch.tensor(0.0)) / self.channels
                moved = moved / moved.norm() * (left_over + union[c].norm() ** 2).sqrt()
            else:
                moved = signs[c] * eta + own / (own.abs().sum() + 1e-12)
                left_over = max(self.epsilon - delta.abs().sum(), torch.tensor(0.0))
                moved = moved / moved.abs().sum() * (left_over + self.channels * union[c].abs().sum())
            result[c, top : top + side, left : left + side] = moved
        return self.in_ball(result)


@pytest.mark.parametrize(("norm", "targeted"), CASES)
def test_the_queries_are_those_of_the_random_search(norm: Norm, targeted: bool) -> None:
    """One example whose ball is too small for a success, so that all queries are made."""
    model, images = small_net(), small_images(1)
    label, queries, epsilon = labels_to_attack(model, images, targeted=targeted), 150, 0.02
    victim = Noting(model)
    result = Square(norm=norm, epsilon=epsilon, queries=queries, targeted=targeted)(victim, images, label)
    assert not result[norm].success.any()
    asked = iter(victim.queries[2:-1])  # without the first look, the image itself and the last test
    slow = Slow(norm, images[0], seeds_of(images, label, 0)[0], epsilon, queries)

    @torch.no_grad()
    def loss(x: Tensor) -> float:
        logits = model(x[None])
        if targeted:
            return -torch.nn.functional.cross_entropy(logits.double(), label).item()
        return margin(logits, label, targeted=False).item()

    x = slow.first()
    torch.testing.assert_close(next(asked)[0], x)
    best, kept = loss(x), 0
    for k in range(1, queries):
        query = next(asked)[0]
        torch.testing.assert_close(query, slow.proposal(x, k), rtol=1e-4, atol=1e-6)
        if (value := loss(query)) > best:
            x, best, kept = query, value, kept + 1
    assert next(asked, None) is None and kept > 3
    assert result.forward_passes.tolist() == [queries + 2] and result.iterations.tolist() == [0]


@pytest.mark.parametrize("norm", ALL)
def test_every_query_of_three_channels_lies_in_the_ball_and_the_box(norm: Norm) -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 7 * 11, 3))
    images = torch.rand(2, 3, 7, 11, generator=torch.Generator().manual_seed(1))
    victim, epsilon = Noting(model), 0.3
    Square(norm=norm, epsilon=epsilon, queries=40, kappa=50.0)(victim, images, torch.tensor([0, 1]))
    queries = [x for x in victim.queries[2:-1] if len(x) == 2]
    assert len(queries) == 40
    for x in queries:
        assert x.min() >= 0 and x.max() <= 1
        assert (NORMS[norm](x - images) <= epsilon * (1 + 1e-4)).all()  # by the rounding of 231 values
    moved = torch.stack([NORMS[norm](x - images) for x in queries])
    assert moved.min() > 0.5 * epsilon, "queries lie near the sphere"


def test_an_example_leaves_at_its_first_success_and_sees_outputs_alone() -> None:
    model, images, _ = half_space("linf", 0.0)
    victim = Counting(model)
    result = Square(norm="linf", epsilon=0.2, targeted=False)(victim, images, torch.zeros(4, dtype=torch.int64))
    assert result["linf"].success.all() and (result["linf"].linf <= 0.2 + 1e-6).all()
    assert (result["linf"].epsilon - 0.2).abs().max() < 1e-6
    assert victim.backwards == 0 and result.forward_passes.max() < 400


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"norm": "l0"}, "norm must be one of l1, l2, linf"),
        ({"epsilon": 0.0}, r"epsilon must be above 0, got 0\.0"),
        ({"queries": 0}, "queries must be at least 1, got 0"),
        ({"p_init": 1.5}, r"p_init must be in \(0, 1\], got 1\.5"),
        ({"loss": "dlr"}, "loss must be one of margin, ce"),
    ],
)
def test_mistakes(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Square(**{"norm": "linf", "epsilon": 0.1} | wrong)
