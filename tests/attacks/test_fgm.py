"""FGM and I-FGM against a transcription at every ε, and against linear models whose smallest ε is known."""

import math
from functools import cache
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from eadbench.attacks import FGM, IFGM, AttackResult
from eadbench.attacks.criterion import margin
from eadbench.attacks.engine.epsilon_search import GRIDS
from eadbench.attacks.ifgm import project
from tests.attacks.models import Constant, Linear, Shifted, Wavy, examples, linear, smooth
from tests.attacks.transcription import fgm, logit_gap

NORMS = ("l1", "l2", "linf")
STEPS = {FGM: 1, IFGM: 10}
GRID = {
    "l1": tuple(0.25 * i for i in range(1, 40)),
    "l2": tuple(0.05 * i for i in range(1, 50)),
    "linf": tuple(0.02 * i for i in range(1, 41)),
}


@cache
def every_epsilon(kind: str, norm: str, steps: int, targeted: bool) -> list[list[Tensor | None]]:
    """For each example and ε of the grid: the adversarial image, or None if it fails."""
    model, images, labels = material(kind, targeted)
    table: list[list[Tensor | None]] = []
    for image, label in zip(images, labels.tolist(), strict=True):
        table.append([])
        for epsilon in GRID[norm]:
            x = fgm(model, image, label, epsilon, norm=norm, targeted=targeted, steps=steps)
            wins = x is not None and logit_gap(model, x, label, targeted) < 0
            table[-1].append(x if wins else None)
    return table


def material(kind: str, targeted: bool) -> tuple[nn.Module, Tensor, Tensor]:
    if kind == "wavy":
        generator = torch.Generator().manual_seed(1)
        images = 0.2 + 0.6 * torch.rand(6, 1, 4, 4, generator=generator, dtype=torch.float64)
        model: nn.Module = Wavy()
        with torch.no_grad():
            predicted = model(images).argmax(1)
        return model, images, 1 - predicted if targeted else predicted
    model = smooth(kind)
    batch = examples(model, channels=1 if kind == "mlp" else 3, targeted=targeted)
    return model, batch.images, batch.labels


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
@pytest.mark.parametrize("targeted", [True, False], ids=["targeted", "untargeted"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", ["mlp", "wavy"])
@pytest.mark.parametrize("attack", STEPS)
def test_finds_the_first_success_of_the_whole_grid(
    attack: type, kind: str, norm: str, targeted: bool, batch_size: int
) -> None:
    model, images, labels = material(kind, targeted)
    table = every_epsilon(kind, norm, STEPS[attack], targeted)
    built = attack(norm=norm, epsilons=GRID[norm], targeted=targeted)
    result = built(model, images, labels, batch_size=batch_size)
    kept = result[norm]
    for row, candidates in enumerate(table):
        first = next((column for column, x in enumerate(candidates) if x is not None), None)
        assert kept.success[row].item() == (first is not None)
        tried = len(candidates) if first is None else first + 1
        assert result.iterations[row].item() == 1 + (STEPS[attack] - 1) * tried
        if first is None:
            assert kept.epsilon[row].isnan()
        else:
            assert kept.epsilon[row].item() == pytest.approx(GRID[norm][first])
            torch.testing.assert_close(kept.images[row], candidates[first], rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("attack", STEPS)
def test_the_wavy_model_is_not_monotone_in_epsilon(attack: type, norm: str) -> None:
    """Check that the test above would catch bisection, or a search for the last failure."""
    patterns = [[x is not None for x in candidates] for candidates in every_epsilon("wavy", norm, STEPS[attack], True)]
    assert any(pattern != sorted(pattern) for pattern in patterns)  # a failure after a success


def next_on_grid(norm: str, epsilon: float) -> float:
    return min(e for e in GRIDS[norm] if e > epsilon)


def threshold_of(norm: str, lead: float, w: Tensor) -> float:
    """The ε at which a step along the norm's dense direction raises w·x by `lead`."""
    if norm == "l1":
        return lead * w.abs().sum().item() / w.square().sum().item()
    return lead / float(torch.linalg.vector_norm(w, ord={"l2": 2, "linf": 1}[norm]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lead", [3.0, 12.3])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("attack", STEPS)
def test_epsilon_of_a_linear_model_is_the_next_on_the_paper_s_grid(
    attack: type, norm: str, lead: float, dtype: torch.dtype
) -> None:
    model, image, w = linear(lead=lead, dtype=dtype)
    kept = attack(norm=norm)(model, image, torch.tensor([1]))[norm]
    expected = next_on_grid(norm, threshold_of(norm, lead, w))
    assert kept.epsilon.item() == pytest.approx(expected)
    assert getattr(kept, norm).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("scale", [1e-30, 1e4, 1e30], ids=str)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("attack", STEPS)
def test_epsilon_does_not_depend_on_the_logits_scale(attack: type, norm: str, scale: float) -> None:
    """Squares of these gradients are outside float32's range, and a softmax of these logits rounds to 0 and 1."""
    model, image, w = linear(lead=3.0)
    scaled = Linear((scale * model.weight.detach()).float(), (scale * model.bias.detach()).float())
    kept = attack(norm=norm)(scaled, image.float(), torch.tensor([1]))[norm]
    assert kept.epsilon.item() == pytest.approx(next_on_grid(norm, threshold_of(norm, 3.0, w)))


@pytest.mark.parametrize(
    ("norm", "size", "first", "last"),
    [("l1", 1000, 1, 1000), ("l2", 1000, 0.01, 10), ("linf", 1000, 0.001, 1)],
)
def test_grids_are_the_paper_s_table_4(norm: str, size: int, first: float, last: float) -> None:
    grid = GRIDS[norm]
    assert (len(grid), grid[0], grid[-1]) == (size, first, last)
    assert all(math.isclose(b - a, first, rel_tol=1e-6) for a, b in pairwise(grid))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("attack", STEPS)
def test_a_zero_gradient_is_a_failed_row_not_nan(attack: type, norm: str) -> None:
    model = Constant(torch.tensor([1.0, 0.0, 0.5]))
    images = torch.full((2, 1, 4, 4), 0.5)
    result = attack(norm=norm)(model, images, torch.tensor([1, 2]))
    assert not result[norm].success.any()
    assert torch.equal(result[norm].images, images)
    assert result.iterations.tolist() == [1, 1]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("attack", STEPS)
def test_negative_logits_change_nothing(attack: type, norm: str) -> None:
    batch = examples(smooth())
    plain, shifted = (
        attack(norm=norm, epsilons=GRID[norm])(model, batch.images, batch.labels)[norm]
        for model in (smooth(), Shifted(smooth(), -1000))
    )
    assert plain.success.any()
    torch.testing.assert_close(shifted.epsilon, plain.epsilon, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("attack", STEPS)
def test_every_success_holds_and_lies_in_the_ball_and_the_box(attack: type, norm: str) -> None:
    model, batch = smooth(), examples(smooth())
    result: AttackResult = attack(norm=norm, epsilons=GRID[norm])(model, batch.images, batch.labels)
    kept = result[norm]
    lead = margin(model(kept.images), batch.labels, targeted=True)
    assert kept.success.any()
    assert (lead[kept.success] > 0).all()
    assert (getattr(kept, norm) <= kept.epsilon + 1e-9)[kept.success].all()
    assert kept.images.amin() >= 0 and kept.images.amax() <= 1


@pytest.mark.parametrize(
    ("norm", "radius", "projected"),
    [
        ("l1", 3.5, [1.5, -2.0]),
        ("l1", 7.5, [3.0, -4.0]),
        ("l2", 2.5, [1.5, -2.0]),
        ("l2", 5.5, [3.0, -4.0]),
        ("linf", 3.5, [3.0, -3.5]),
        ("linf", 4.5, [3.0, -4.0]),
    ],
)
def test_project_scales_or_clips_onto_the_ball(norm: str, radius: float, projected: list[float]) -> None:
    """Tested alone, since ten steps of ε/10 never leave the ε-ball."""
    delta = torch.tensor([3.0, -4.0]).view(1, 1, 1, 2)
    ball = torch.full((1, 1, 1, 1), radius)
    assert project(delta, ball, norm).flatten().tolist() == pytest.approx(projected)
    assert not project(0 * delta, ball, norm).any()


@pytest.mark.parametrize(
    ("epsilons", "message"), [((0.2, 0.1), "ascending"), ((0.0, 0.1), "positive"), ((-0.1, 0.1), "positive")]
)
@pytest.mark.parametrize("attack", STEPS)
def test_a_grid_out_of_order_is_refused(attack: type, epsilons: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attack(norm="linf", epsilons=epsilons)(smooth(), examples(smooth()).images, examples(smooth()).labels)


def test_ifgm_needs_a_step() -> None:
    with pytest.raises(ValueError, match="steps must be at least 1"):
        IFGM(norm="l2", steps=0)
