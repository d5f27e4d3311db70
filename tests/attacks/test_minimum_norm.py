"""Minimum-norm attacks: their parts against closed forms and brute force, and what a walk keeps."""

import pytest
import torch
from torch import Tensor, nn

from eadbench.attacks import ALMA, DDN, FMN, PDPGD, SigmaZero, distances
from eadbench.attacks.alma import penalty, penalty_slope, slope
from eadbench.attacks.contract.victims import half_space, labels_to_attack, small_images, small_net
from eadbench.attacks.criterion import log_odds, logit_range, margin
from eadbench.attacks.distances import unit
from eadbench.attacks.engine.projections import PROJECTIONS
from eadbench.attacks.engine.walk import Queries
from eadbench.attacks.pdpgd import PROXIMAL

ATTACKS = [
    *(FMN(norm=norm, steps=30) for norm in ("l0", "l1", "l2", "linf")),
    *(PDPGD(norm=norm, steps=30) for norm in ("l0", "l1", "l2", "linf")),
    ALMA(norm="l1", steps=30),
    ALMA(norm="l2", steps=30),
    DDN(steps=30),
    SigmaZero(steps=30),
]
each_attack = pytest.mark.parametrize(
    "attack", ATTACKS, ids=lambda attack: f"{attack.LABEL} {next(iter(attack.NORMS))}"
)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("norm", PROJECTIONS)
def test_projections_are_in_the_ball_and_nearest(norm: str) -> None:
    delta = normal(6, 1, 4, 5)
    radius = distances.NORMS[norm](delta) * torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0, 2.0], dtype=torch.float64)
    if norm == "l0":
        radius = radius.floor()
    projected = PROJECTIONS[norm](delta, radius)
    assert (distances.NORMS[norm](projected) <= radius + 1e-9).all()
    assert torch.equal(projected[5], delta[5]) and torch.equal(projected[0], 0 * delta[0])
    least = distances.l2(projected - delta)
    for others in normal(200, 6, 1, 4, 5) * torch.logspace(-3, 0, 200, dtype=torch.float64).view(-1, 1, 1, 1, 1):
        inside = PROJECTIONS[norm](projected + others, radius)
        assert (distances.l2(inside - delta) >= least - 1e-9).all()


@pytest.mark.parametrize("weight", [1e-3, 0.03, 0.2, 1.0])
@pytest.mark.parametrize("norm", PROXIMAL)
def test_proximal_operators_are_the_least(norm: str, weight: float) -> None:
    measure = distances.NORMS.get(norm, lambda delta: delta.abs().pow(2 / 3).flatten(1).sum(1))
    delta = normal(20, 1, 2, 3)

    def objective(z: Tensor) -> Tensor:
        return 0.5 * distances.l2_squared(z - delta) + weight * measure(z)

    value = PROXIMAL[norm](delta, torch.full((20, 1, 1, 1), weight, dtype=torch.float64))
    for others in normal(300, 20, 1, 2, 3) * torch.logspace(-4, 0.5, 300, dtype=torch.float64).view(-1, 1, 1, 1, 1):
        for z in (value + others, others, value * (others > 0)):
            assert (objective(z) >= objective(value) - 1e-9).all()


def test_the_penalty_s_slope_is_its_derivative() -> None:
    y = torch.linspace(-3, 3, 61, dtype=torch.float64).requires_grad_()
    rho, mu = torch.full_like(y, 0.7), torch.full_like(y, 1.3)
    (expected,) = torch.autograd.grad(penalty(y, rho, mu).sum(), y)
    torch.testing.assert_close(penalty_slope(y.detach(), rho, mu), expected)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_the_slope_of_a_norm(norm: str) -> None:
    delta = normal(3, 1, 2, 2).requires_grad_()
    (expected,) = torch.autograd.grad(distances.NORMS[norm](delta).sum(), delta)
    torch.testing.assert_close(slope(delta.detach(), norm), expected)
    assert not slope(torch.zeros(1, 1, 2, 2), norm).any()


def test_log_odds_have_the_direction_of_the_cross_entropy() -> None:
    logits, labels = normal(5, 4).requires_grad_(), torch.tensor([0, 1, 2, 3, 0])
    (odds,) = torch.autograd.grad(log_odds(logits, labels).sum(), logits)
    (entropy,) = torch.autograd.grad(nn.functional.cross_entropy(logits, labels, reduction="sum"), logits)
    torch.testing.assert_close(unit(odds[:, :, None, None]), unit(-entropy[:, :, None, None]))
    saturated = torch.tensor([[200.0, 0.0, -3.0]]).requires_grad_()
    (odds,) = torch.autograd.grad(log_odds(saturated, torch.tensor([0])).sum(), saturated)
    assert odds[0, 0] == 1  # the cross-entropy's is 0


@pytest.mark.parametrize(
    ("logits", "targeted", "expected"),
    [([1, 5, 2, 4], False, 3), ([1, 5, 2, 4], True, 3.5), ([1, 5, 2], True, 4), ([1, 5], False, 1)],
)
def test_the_range_of_logits(logits: list[float], targeted: bool, expected: float) -> None:
    assert logit_range(torch.tensor([logits], dtype=torch.float64), targeted=targeted).tolist() == [expected]


@each_attack
@pytest.mark.parametrize("targeted", [True, False])
def test_the_nearest_adversarial_query_is_kept(attack: FMN, targeted: bool) -> None:
    """Seen from outside: by a victim that notes every query."""

    class Noting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.queries = small_net(), list[Tensor]()

        def forward(self, x: Tensor) -> Tensor:
            self.queries.append(x.detach().clone())
            logits: Tensor = self.network(x)
            return logits

    images, victim = small_images(4), Noting()
    labels = labels_to_attack(victim.network, images, targeted=targeted)
    result = type(attack)(**{**vars(attack), "targeted": targeted})(victim, images, labels)
    [(norm, kept)] = result.items()
    walked = victim.queries[1:-1]  # without the first look and the last test
    assert len(walked) == attack.steps
    least = torch.full((4,), torch.inf)
    for x in walked:
        assert x.min() >= 0 and x.max() <= 1
        lead = margin(victim.network(x), labels, targeted=targeted)
        far = distances.NORMS[norm](x - images)
        least = torch.where((lead > 1e-4) & (far < least), far, least)
    measured = getattr(kept, norm)
    assert torch.equal(kept.success, least.isfinite())
    assert (measured[kept.success] <= least[kept.success] + 1e-6).all()


@pytest.mark.parametrize(("projection", "length"), [("ball", 0.01), ("sphere", 0.1)])
def test_fmn_goes_at_most_or_exactly_to_its_radius(projection: str, length: float) -> None:
    """The boundary is 0.1 away, and a step 0.01 long."""
    model, seen = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), list[Tensor]()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[0.0, 0, 0, 0], [1, 0, 0, 0]]))
        model[1].bias.copy_(torch.tensor([0.0, -0.6]))
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    images, labels = torch.full((1, 1, 2, 2), 0.5), torch.tensor([1])
    FMN(norm="l2", steps=2, step_size=0.01, projection=projection)(model, images, labels)  # type: ignore[arg-type]
    assert distances.l2(seen[2] - images).item() == pytest.approx(length, rel=1e-3)


def test_a_query_that_leads_by_rounding_alone_does_not_count() -> None:
    model, images, _ = half_space("l2", 0.0)
    queries = Queries(model, images, torch.ones(4, dtype=torch.int64), torch.zeros(4), norm="l2", targeted=True)
    with torch.no_grad():
        lead = margin(model(images), queries.labels, targeted=True)
        model.bias[1] -= lead[0] * (1 - 1e-7)  # so that the first image lies on the boundary, up to rounding
    assert not queries(images, lambda _, lead: lead).adversarial[0]


@each_attack
def test_memory_that_is_short_halves_the_batch(attack: FMN) -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.most = small_net(), 0

        def forward(self, x: Tensor) -> Tensor:
            if x.requires_grad and len(x) > 3:
                raise torch.OutOfMemoryError
            self.most = max(self.most, len(x))
            logits: Tensor = self.network(x)
            return logits

    images = small_images(8)
    labels = labels_to_attack(small_net(), images, targeted=True)
    plain, halved = attack(small_net(), images, labels), attack(Small(), images, labels)
    for norm, kept in plain.items():
        assert torch.equal(kept.success, halved[norm].success)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FMN(norm="l3"), "norm must be one of l0, l1, l2, linf, got 'l3'"),
        (lambda: FMN(norm="l1", steps=0), "steps must be at least 1, got 0"),
        (lambda: FMN(norm="l1", projection="sphere"), "projection must be one of ball, got 'sphere'"),
        (lambda: PDPGD(norm="l1", kappa=-1.0), "kappa must be finite and not negative"),
        (lambda: PDPGD(norm="l0", l0_proximal="l1/2"), "l0_proximal must be one of l2/3, l0"),
        (lambda: ALMA(norm="linf"), "norm must be one of l1, l2, got 'linf'"),
        (lambda: ALMA(norm="l1", first_distance=0.0), "first_distance must be above 0, got 0.0"),
        (lambda: DDN(levels=1), "levels must be at least 2, or none; got 1"),
        (lambda: SigmaZero(sigma=0.0), "sigma must be above 0, got 0.0"),
    ],
)
def test_mistakes_are_one_line(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]
