"""APGD and APGD-L1: the schedule against a slow transcription, the projection against brute force, bisection."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eadbench.attacks import APGD, APGDL1
from eadbench.attacks.apgd import checkpoints
from eadbench.attacks.contract.victims import Counting, half_space, labels_to_attack, small_images, small_net
from eadbench.attacks.criterion import margin
from eadbench.attacks.distances import NORMS
from eadbench.attacks.engine.projections import PROJECTIONS, l1_in_box


class Noting(nn.Module):
    """A victim that notes every query."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.queries = network, list[Tensor]()

    def forward(self, x: Tensor) -> Tensor:
        self.queries.append(x.detach().clone())
        logits: Tensor = self.network(x)
        return logits


class Bumps(nn.Module):
    """Two classes whose difference is a wavy function, so that ascents oscillate; class 1 never leads."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        waves = torch.sin(13 * flat).sum(1) + 2 * torch.cos(7 * flat[:, :3].sum(1)) + flat[:, 4:].square().sum(1)
        return torch.stack([torch.zeros_like(waves), waves - 40], 1)


def transcription(model: nn.Module, image: Tensor, epsilon: float, steps: int, norm: str, rho: float) -> list[Tensor]:
    """The iterates x⁽⁰⁾ … x⁽ᴺ⁾ of algorithm 1 for one image (1, C, H, W) and the loss Z₁ - Z₀, line by line."""

    def f(x: Tensor) -> tuple[float, Tensor]:
        x = x.detach().requires_grad_()
        logits = model(x)
        value = logits[0, 1] - logits[0, 0]
        (gradient,) = torch.autograd.grad(value, x)
        return value.item(), gradient

    def project(x: Tensor) -> Tensor:
        delta = x - image
        if norm == "linf":
            delta = delta.clamp(-epsilon, epsilon)
        elif delta.norm() > epsilon:
            delta = delta * epsilon / delta.norm()
        return (image + delta).clamp(0, 1)

    def way(gradient: Tensor) -> Tensor:
        return gradient.sign() if norm == "linf" else gradient / gradient.norm()

    points, p = [0.0, 0.22], [0.0, 0.22]
    while p[-1] <= 1:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
        points.append(p[-1])
    window = [int(-(-(round(point * 100) * steps) // 100)) for point in points]

    eta = 2 * epsilon
    x = [image]
    f0, g0 = f(image)
    x.append(project(image + eta * way(g0)))
    values = [f0]
    best, f_max, g_max = image, f0, g0
    f_max_before, eta_before, last_checkpoint, rises = f0, eta, 0, 0
    k = 1
    while k <= steps:
        value, gradient = f(x[k])
        rises += value > values[-1]
        current = x[k]
        if value > f_max:
            best, f_max, g_max = current, value, gradient
        if k in window:
            one = rises < rho * (k - last_checkpoint)
            two = eta_before == eta and f_max_before == f_max
            eta_before, f_max_before = eta, f_max
            if one or two:
                eta = eta / 2
                current, gradient, value = best, g_max, f_max
            last_checkpoint, rises = k, 0
        values.append(value)
        z = project(current + eta * way(gradient))
        x.append(project(current + 0.75 * (z - current) + 0.25 * (current - x[k - 1])))
        x[k] = current
        k += 1
    return x


@pytest.mark.parametrize("steps", [7, 30, 100])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_ascent_is_algorithm_1(norm: Any, steps: int) -> None:
    """Each image of a batch is queried where the transcription queries it, until float64's rounding grows."""
    images = small_images(3).double()
    victim = Noting(Bumps())
    attack = APGD(norm=norm, epsilon=0.6, steps=steps, loss="dlr", random_start=False)
    assert not attack(victim, images, torch.ones(3, dtype=torch.int64))[norm].success.any()
    queries = victim.queries[2:-1]  # after the first look and the test of the images, before the last test
    assert len(queries) == steps + 1
    for row in range(3):
        expected = transcription(Bumps(), images[row : row + 1], 0.6, steps, norm, 0.75)
        jumps = 0
        for k in range(steps + 1):
            if not torch.allclose(queries[k][row], expected[k][0], atol=1e-8):
                jumps += 1  # the transcription has replaced x⁽ᵏ⁾ by x_max at a checkpoint
                assert k in checkpoints(steps)
        assert jumps <= len(checkpoints(steps))


def test_checkpoints_are_the_paper_s() -> None:
    assert checkpoints(100) == [0, 22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(10) == [0, 3, 5, 6, 7, 8, 9, 10]


def test_the_projection_to_the_l1_ball_and_the_box_is_the_nearest() -> None:
    generator = torch.Generator().manual_seed(3)

    def drawn(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    images, delta = drawn(40, 1, 2, 2), 4 * drawn(40, 1, 2, 2) - 2
    images[:8, 0, 0, 0], images[8:16, 0, 1, 1], delta[16:20, 0, 0, 1] = 0, 1, 0
    radius = 3 * drawn(40)
    radius[:3] = torch.tensor([0.0, 1e-9, 10.0])
    projected = l1_in_box(delta, radius, images)
    assert (NORMS["l1"](projected) <= radius + 1e-12).all()
    assert (images + projected >= -1e-12).all() and (images + projected <= 1 + 1e-12).all()
    least = NORMS["l2"](projected - delta)
    for scale in (1.0, 0.1, 0.01, 1e-3):
        for _ in range(100):
            other = (images + projected + scale * (2 * drawn(40, 1, 2, 2) - 1)).clamp(0, 1) - images
            other *= (radius / NORMS["l1"](other).clamp(min=1e-12)).clamp(max=1).view(-1, 1, 1, 1)
            assert (NORMS["l2"](other - delta) >= least - 1e-9).all()
    grid = torch.cartesian_prod(*[torch.linspace(0, 1, 41, dtype=torch.float64)] * 2).view(-1, 1, 1, 2)
    image, far = torch.tensor([0.2, 0.9], dtype=torch.float64).view(1, 1, 1, 2), torch.tensor([1.3, 0.4])
    far = far.double().view(1, 1, 1, 2)
    inside = grid[NORMS["l1"](grid - image) <= 0.75]
    nearest = inside[NORMS["l2"](inside - image - far).argmin()]
    result = l1_in_box(far, torch.tensor([0.75], dtype=torch.float64), image)
    torch.testing.assert_close(image[0] + result[0], nearest, atol=0.026, rtol=0)


def test_without_a_bound_of_the_box_it_is_the_projection_to_the_ball() -> None:
    generator = torch.Generator().manual_seed(4)
    delta = 0.2 * torch.randn(20, 1, 6, 6, generator=generator, dtype=torch.float64)
    radius = torch.linspace(0.1, 12, 20, dtype=torch.float64)
    middle = torch.full_like(delta, 0.5)
    small = delta.clamp(-0.5, 0.5)
    torch.testing.assert_close(l1_in_box(small, radius, middle), PROJECTIONS["l1"](small, radius))


CASES: list[Any] = [APGD(norm="linf", epsilon=0.2), APGD(norm="l2", epsilon=0.6), APGDL1(epsilon=1.5)]


@pytest.mark.parametrize("targeted", [True, False])
@pytest.mark.parametrize("loss", ["ce", "dlr"])
@pytest.mark.parametrize("attack", CASES, ids=lambda attack: attack.LABEL + next(iter(attack.NORMS)))
def test_successes_are_inside_of_the_ball(attack: Any, loss: str, targeted: bool) -> None:
    images, model = small_images(), small_net()
    labels = labels_to_attack(model, images, targeted=targeted)
    attack = type(attack)(**{**vars(attack), "loss": loss, "targeted": targeted, "steps": 40})
    [(norm, kept)] = attack(model, images, labels).items()
    assert kept.success.sum() > 0 and (getattr(kept, norm)[kept.success] <= attack.epsilon * (1 + 1e-5)).all()
    assert (kept.epsilon[kept.success] == torch.tensor(attack.epsilon)).all()


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_the_smallest_epsilon_is_found_row_by_row(norm: Any) -> None:
    """What succeeds at ε on its own succeeds at the ε that was found, and fails at nine tenths of it."""
    images, model = small_images(4), small_net()
    labels = labels_to_attack(model, images, targeted=False)

    def attack(epsilon: float | None, steps: int = 15) -> Any:
        common = {"epsilon": epsilon, "steps": steps, "targeted": False, "random_start": False, "loss": "ce"}
        return APGDL1(**common, larger_radii=False) if norm == "l1" else APGD(norm=norm, **common)

    kept = attack(None)(model, images, labels)[norm]
    assert kept.success.all()
    for row in range(4):
        one = slice(row, row + 1)
        found = getattr(kept, norm)[row].item()
        assert attack(found * 1.02)(model, images[one], labels[one])[norm].success.all()
        assert not attack(found * 0.9)(model, images[one], labels[one])[norm].success.any()


def test_targets_are_tried_in_the_order_of_their_logits() -> None:
    """A class that no ascent of the untargeted loss reaches is reached by aiming at it."""

    class Decoy(nn.Module):
        """Class 1 is near and grows at first, but never leads; class 2 leads far up."""

        def forward(self, x: Tensor) -> Tensor:
            mean = x.flatten(1).mean(1)
            decoy, real = 0.9 - (mean - 0.4).square(), 4 * (mean - 0.5)
            return torch.stack([torch.ones_like(mean), decoy, real, real - 9], 1)

    images, labels = torch.full((2, 1, 2, 2), 0.5), torch.zeros(2, dtype=torch.int64)
    common: Any = {"norm": "linf", "epsilon": 0.3, "steps": 20, "random_start": False, "targeted": False}
    victim = Counting(Decoy())
    assert not APGD(**common)(victim, images, labels)["linf"].success.any()
    assert not APGD(**common, targets=1)(victim, images, labels)["linf"].success.any()
    both = APGD(**common, targets=2)(victim, images, labels)
    assert both["linf"].success.all() and (both.iterations >= 21).all()


def test_an_example_leaves_at_its_first_success() -> None:
    model, images, _ = half_space("linf", 0.0)
    labels = torch.ones(4, dtype=torch.int64)
    victim = Counting(model)
    result = APGD(norm="linf", epsilon=0.3)(victim, images, labels)
    assert result["linf"].success.all() and result.iterations.max() <= 2
    assert margin(model(result["linf"].images), labels, targeted=True).min() > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: APGD(norm="l1"), "norm must be one of l2, linf, got 'l1'"),
        (lambda: APGD(norm="l2", epsilon=0.0), "epsilon must be above 0, got 0.0"),
        (lambda: APGD(norm="l2", loss="cw"), "loss must be one of ce, dlr, got 'cw'"),
        (lambda: APGD(norm="l2", targets=9), "targets is for untargeted attacks"),
        (lambda: APGDL1(restarts=0), "restarts must be at least 1, got 0"),
        (lambda: APGDL1(steps=0), "steps must be at least 1, got 0"),
    ],
)
def test_mistakes_are_one_line(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
