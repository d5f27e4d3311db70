"""C&W and COV against their transcription under torch's own Adam, and C&W against the least L2 distortion."""

from functools import cache
from typing import Any

import pytest
import torch

from eadbench.attacks import COV, EAD, CarliniWagner
from tests.attacks.models import Batch, examples, linear, smooth
from tests.attacks.transcription import Outcome, assert_agrees, search, tanh_step

SETTINGS: dict[str, tuple[Any, dict[str, Any]]] = {
    "C&W": (CarliniWagner, {}),
    "C&W, no abort": (CarliniWagner, {"abort_early": False, "binary_search_steps": 5}),
    "C&W, untargeted": (CarliniWagner, {"targeted": False}),
    "C&W, 1 iteration": (CarliniWagner, {"max_iterations": 1}),
    "C&W, 9 iterations": (CarliniWagner, {"max_iterations": 9, "learning_rate": 0.3}),
    "C&W, 25 iterations": (CarliniWagner, {"max_iterations": 25}),
    "C&W, binary images": (CarliniWagner, {"max_iterations": 100, "binary_search_steps": 5}),
    "COV": (COV, {}),
    "COV, untargeted": (COV, {"targeted": False}),
    "COV, no abort": (COV, {"abort_early": False, "binary_search_steps": 5}),
    "COV, 5 iterations": (COV, {"max_iterations": 5, "learning_rate": 0.3}),
    "COV, 100 iterations": (COV, {"max_iterations": 100, "binary_search_steps": 6}),
    "COV, binary images": (COV, {"max_iterations": 100, "binary_search_steps": 5}),
}


@cache
def case(name: str, kind: str = "mlp") -> tuple[Batch, CarliniWagner | COV, list[Outcome]]:
    """The examples, the attack, and the transcription's outcome for each example."""
    algorithm, changes = SETTINGS[name]
    settings = {"max_iterations": 40, "learning_rate": 0.1} | changes
    model = smooth(kind)
    batch = examples(
        model,
        channels=1 if kind == "mlp" else 3,
        targeted=settings.get("targeted", True),
        binary=name.endswith("binary images"),
    )
    own_beta = {"beta": batch.beta} if algorithm is COV else {}
    attack = algorithm(kappa=batch.kappa, **own_beta, **settings)
    rows = batch.rows(attack, **({} if algorithm is COV else {"beta": 0.0, "rules": ("l2",)}))
    return batch, attack, [search(tanh_step, model, *row) for row in rows]


@pytest.mark.parametrize("batch_size", [1, 3, 8])
@pytest.mark.parametrize("name", SETTINGS)
def test_agrees_with_the_transcription(name: str, batch_size: int) -> None:
    batch, attack, outcomes = case(name)
    result = attack(smooth(), batch.images, batch.labels, batch_size=batch_size)
    assert list(result) == (["en", "l1", "l2"] if isinstance(attack, COV) else ["l2"])
    assert_agrees(result, outcomes, batch.images)


@pytest.mark.parametrize("name", ["C&W", "COV"])
def test_agrees_with_the_transcription_on_a_cnn(name: str) -> None:
    batch, attack, outcomes = case(name, "cnn")
    assert_agrees(attack(smooth("cnn"), batch.images, batch.labels, batch_size=3), outcomes, batch.images)


@pytest.mark.parametrize("name", ["C&W", "COV", "C&W, binary images", "COV, binary images"])
def test_the_cases_have_successes_and_aborts(name: str) -> None:
    """Check that the comparisons above are not empty."""
    _, attack, outcomes = case(name)
    assert sum(outcome.winners["l2"].image is not None for outcome in outcomes) >= 4
    assert len({outcome.iterations for outcome in outcomes}) > 4
    full = attack.binary_search_steps * attack.max_iterations
    assert all(outcome.iterations < full for outcome in outcomes)


@pytest.mark.parametrize("kappa", [0.0, 2.0])
def test_cw_approaches_the_least_l2_of_a_linear_model(kappa: float) -> None:
    model, image, w = linear(lead=3.0)
    attack = CarliniWagner(kappa=kappa, max_iterations=400, initial_const=1e-2)
    kept = attack(model, image, torch.tensor([1]))["l2"]
    least = (3.0 + kappa) / w.norm().item()
    assert least <= kept.l2.item() <= 1.01 * least
    assert kept.margin.item() >= kappa


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("corner", [0.0, 1.0])
def test_cw_moves_pixels_that_are_exactly_0_or_1(corner: float, dtype: torch.dtype) -> None:
    """A black or white image: only pixels whose weights point into the box can move, about half of them."""
    model, grey, w = linear(lead=2.0, dtype=dtype)
    image = torch.full_like(grey, corner)
    with torch.no_grad():
        model.bias[1] = -2.0 - (model.weight[1] * image[0]).sum()
    kept = CarliniWagner(max_iterations=300, learning_rate=0.1)(model, image, torch.tensor([1]))["l2"]
    inwards = (w > 0) if corner == 0 else (w < 0)
    least = 2.0 / w[inwards].norm().item()
    assert least * (1 - 1e-5) <= kept.l2.item() <= 1.02 * least
    moved = (kept.images - image)[0].abs() > 1e-3
    assert moved[inwards].sum() > 0.85 * inwards.sum()
    assert not moved[~inwards].any()


def test_cov_with_beta_zero_is_cw() -> None:
    """Without the abort, which depends on the decision rules."""
    batch, attack, _ = case("C&W, no abort")
    same = {name: getattr(attack, name) for name in vars(attack)}
    cov = COV(beta=0.0, **same)
    cov_result, cw_result = (each(smooth(), batch.images, batch.labels) for each in (cov, attack))
    assert torch.equal(cov_result["l2"].images, cw_result["l2"].images)
    assert torch.equal(cov_result["en"].images, cw_result["l2"].images)
    assert torch.equal(cov_result.iterations, cw_result.iterations)


def test_cov_spreads_what_ead_concentrates() -> None:
    """The paper's reason for shrinkage: by tanh and Adam, no pixel ever returns to its original value."""
    model, image, _ = linear(lead=2.0)
    settings: dict[str, Any] = {"beta": 2e-2, "max_iterations": 200, "initial_const": 1e-2}
    cov, ead = (attack(**settings)(model, image, torch.tensor([1]))["l1"] for attack in (COV, EAD))
    assert cov.l0.item() == image.numel()
    assert ead.l0.item() < 10
    assert ead.l1.item() < cov.l1.item()


def test_adam_starts_afresh_at_every_search_step() -> None:
    """Two search steps, the first of which succeeds with c, equal single steps with c and with c/2."""
    batch = examples(smooth(), count=4)
    settings: dict[str, Any] = {"max_iterations": 30, "learning_rate": 0.1, "abort_early": False}
    attacks = [
        CarliniWagner(initial_const=const, binary_search_steps=steps, **settings)
        for const, steps in ((4.0, 2), (4.0, 1), (2.0, 1))
    ]
    both, first, second = (attack(smooth(), batch.images, batch.labels)["l2"] for attack in attacks)
    assert first.success.all() and second.success.any()
    best = torch.fmin(first.l2, second.l2)
    torch.testing.assert_close(both.l2, best, rtol=1e-12, atol=0)
