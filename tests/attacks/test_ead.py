"""EAD against its transcription, equation 8, and least distortions that are known in closed form."""

from functools import cache
from typing import Any, Literal

import pytest
import torch

from eadbench.attacks import EAD
from eadbench.attacks.ead import shrink
from tests.attacks.models import Batch, Constant, Linear, examples, linear, smooth
from tests.attacks.transcription import Outcome, assert_agrees, ead_step, search

SETTINGS: dict[str, dict[str, Any]] = {
    "algorithm 1": {},
    "no abort": {"abort_early": False, "binary_search_steps": 5},
    "momentum (k+1)/(k+4)": {"momentum": "code"},
    "threshold alpha*beta": {"threshold": "scaled"},
    "L2 gradient while failing": {"l2_gradient": "while_failing"},
    "ISTA": {"method": "ista"},
    "ISTA, threshold alpha*beta": {"method": "ista", "threshold": "scaled"},
    "untargeted": {"targeted": False},
    "1 iteration": {"max_iterations": 1, "learning_rate": 0.5},
    "5 iterations": {"max_iterations": 5, "learning_rate": 0.1},
    "9 iterations": {"max_iterations": 9, "learning_rate": 0.1},
    "25 iterations": {"max_iterations": 25},
    "100 iterations": {"max_iterations": 100, "binary_search_steps": 6},
}


@cache
def case(name: str, kind: str = "mlp") -> tuple[Batch, EAD, list[Outcome]]:
    """The examples, the attack, and the transcription's outcome for each example."""
    settings = {"max_iterations": 40, "learning_rate": 0.03} | SETTINGS[name]
    model = smooth(kind)
    batch = examples(model, channels=1 if kind == "mlp" else 3, targeted=settings.get("targeted", True))
    attack = EAD(beta=batch.beta, kappa=batch.kappa, **settings)
    return batch, attack, [search(ead_step, model, *row) for row in batch.rows(attack)]


@pytest.mark.parametrize("batch_size", [1, 3, 8])
@pytest.mark.parametrize("name", SETTINGS)
def test_agrees_with_the_transcription(name: str, batch_size: int) -> None:
    batch, attack, outcomes = case(name)
    result = attack(smooth(), batch.images, batch.labels, batch_size=batch_size)
    assert_agrees(result, outcomes, batch.images)


def test_agrees_with_the_transcription_on_a_cnn() -> None:
    batch, attack, outcomes = case("algorithm 1", "cnn")
    assert_agrees(attack(smooth("cnn"), batch.images, batch.labels, batch_size=3), outcomes, batch.images)


def test_the_cases_have_successes_failures_and_aborts() -> None:
    """Check that the comparisons above are not empty."""
    _, attack, outcomes = case("algorithm 1")
    assert sum(outcome.winners["en"].image is not None for outcome in outcomes) >= 4
    full = attack.binary_search_steps * attack.max_iterations
    assert len({outcome.iterations for outcome in outcomes}) > 4
    assert all(outcome.iterations < full for outcome in outcomes)
    _, _, few = case("1 iteration")
    assert 0 < sum(outcome.winners["en"].image is not None for outcome in few) < 8


@pytest.mark.parametrize(
    "variant", ["momentum (k+1)/(k+4)", "threshold alpha*beta", "L2 gradient while failing", "ISTA"]
)
def test_a_named_variant_differs_from_algorithm_1(variant: str) -> None:
    plain, other = (case(name)[2] for name in ("algorithm 1", variant))
    assert [each.winners["en"].distance for each in plain] != [each.winners["en"].distance for each in other]


@pytest.mark.parametrize("threshold", [0.0, 1e-3, 0.1, 0.7])
def test_shrink_is_equation_8(threshold: float) -> None:
    z = torch.linspace(-1.5, 2.5, 401, dtype=torch.float64).repeat(5)
    origin = torch.tensor([0, 0.05, 0.5, 0.97, 1], dtype=torch.float64).repeat_interleave(401)

    def equation_8(z: float, x0: float) -> float:
        if z - x0 > threshold:
            return min(z - threshold, 1)
        if z - x0 < -threshold:
            return max(z + threshold, 0)
        return x0

    expected = torch.tensor(
        [equation_8(*pair) for pair in zip(z.tolist(), origin.tolist(), strict=True)], dtype=torch.float64
    )
    shrunk = shrink(z, origin, torch.tensor(threshold, dtype=torch.float64))
    torch.testing.assert_close(shrunk, expected, rtol=0, atol=1e-15)
    near = (z - origin).abs() < threshold
    assert torch.equal(shrunk[near], origin[near])  # bit for bit, or L0 would count rounding


@pytest.mark.parametrize(("between", "success"), [(0.5, False), (-0.01, True)])
def test_success_is_judged_on_x_not_on_y(between: float, success: bool) -> None:
    """One pixel moves at an even rate: momentum takes y over a barrier that x just misses, or just reaches."""
    iterations, rate, const, x0 = 12, 0.01, 1.0, 0.2
    x = y = x0
    for k in range(iterations):
        alpha = rate * (1 - k / iterations) ** 0.5
        x, before = y - alpha * (-const + 2 * (y - x0)), x
        y = x + k / (k + 3) * (x - before)
    assert y > x > before
    barrier = x + between * (y - x)
    model = Linear(torch.tensor([[[[0.0]]], [[[1.0]]]]).double(), torch.tensor([0.0, -barrier]).double())
    attack = EAD(
        beta=0, learning_rate=rate, initial_const=const, binary_search_steps=1, max_iterations=iterations,
        abort_early=False,
    )  # fmt: skip
    result = attack(model, torch.full((1, 1, 1, 1), x0).double(), torch.tensor([1]))
    assert [kept.success.item() for kept in result.values()] == [success] * 3


@pytest.mark.parametrize("kappa", [0.0, 2.0])
def test_beta_zero_approaches_the_least_l2_of_a_linear_model(kappa: float) -> None:
    model, image, w = linear(lead=3.0)
    attack = EAD(beta=0, kappa=kappa, max_iterations=400, initial_const=1e-2)
    kept = attack(model, image, torch.tensor([1]))["l2"]
    least = (3.0 + kappa) / w.norm().item()
    assert least <= kept.l2.item() <= 1.01 * least
    assert kept.margin.item() >= kappa


@pytest.mark.parametrize(("threshold", "beta"), [("beta", 2e-2), ("scaled", 2.0)])
def test_a_large_beta_approaches_the_least_l1_of_a_linear_model(
    threshold: Literal["beta", "scaled"], beta: float
) -> None:
    """The least L1 moves only the pixel of greatest weight; the dense step of least L2 costs far more L1."""
    model, image, w = linear(lead=2.0)
    attack = EAD(beta=beta, threshold=threshold, max_iterations=400, initial_const=1e-2)
    kept = attack(model, image, torch.tensor([1]))["l1"]
    least, dense = 2.0 / w.abs().max().item(), 2.0 * w.abs().sum().item() / w.square().sum().item()
    assert dense > 3 * least
    assert least <= kept.l1.item() <= 1.01 * least
    assert kept.l0.item() == 1


@pytest.mark.parametrize(("steps", "success"), [(6, False), (7, True), (9, True)])
def test_c_grows_tenfold_until_a_search_step_succeeds(steps: int, success: bool) -> None:
    """The model's gradients are weak: c = 0.001·10⁶ is the first that succeeds."""
    model, image, _ = linear(lead=2.0)
    weak = Linear(1e-4 * model.weight.detach(), 1e-4 * model.bias.detach())
    kept = EAD(beta=0, max_iterations=60, binary_search_steps=steps)(weak, image, torch.tensor([1]))["l2"]
    assert kept.success.item() is success
    if steps == 7:
        assert kept.const.item() == pytest.approx(1000)


def test_a_constant_model_gives_failures_at_every_c() -> None:
    images = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    result = EAD(max_iterations=20)(Constant(torch.zeros(3)), images, torch.tensor([0, 2]))
    assert not result["en"].success.any()


def test_the_abort_loses_no_success_whose_loss_swings_first() -> None:
    batch = examples(smooth())
    settings: dict[str, Any] = {"beta": 5e-2, "kappa": 1.0, "max_iterations": 50}
    with_abort, without = (
        EAD(**settings, abort_early=abort)(smooth(), batch.images, batch.labels)["l1"].success
        for abort in (True, False)
    )
    assert without.any() and torch.equal(with_abort, without)
