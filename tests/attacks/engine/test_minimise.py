"""The batched search: no row depends on its neighbours, and each rule keeps its best success."""

import math
from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from eadbench.attacks import COV, EAD, FGM, IFGM, Adversarial, AttackResult, CarliniWagner, confirmed
from eadbench.attacks.criterion import margin
from tests.attacks.models import Batch, Constant, Crowded, Fickle, Linear, Poisoned, examples, smooth

SHORT: dict[str, Any] = {"binary_search_steps": 5, "max_iterations": 20, "learning_rate": 0.1}
GRID = tuple(0.05 * i for i in range(1, 21))


def run(name: str, model: nn.Module, batch: Batch, batch_size: int = 128) -> AttackResult:
    """Run the attack `name`, with the batch's β and κ if it has such parameters."""
    attacks: dict[str, Callable[[], Callable[..., AttackResult]]] = {
        "ead": lambda: EAD(beta=batch.beta, kappa=batch.kappa, **SHORT),
        "cw": lambda: CarliniWagner(kappa=batch.kappa, **SHORT),
        "cov": lambda: COV(beta=batch.beta, kappa=batch.kappa, **SHORT),
        "fgm": lambda: FGM(norm="linf", epsilons=GRID),
        "ifgm": lambda: IFGM(norm="l2", epsilons=GRID),
    }
    return attacks[name]()(model, batch.images, batch.labels, batch_size=batch_size)


def columns(kept: Adversarial) -> dict[str, Tensor]:
    """What each row has; without a budget there is no trace."""
    return {name: values for name, values in vars(kept).items() if values is not None}


def assert_same(result: AttackResult, others: list[AttackResult]) -> None:
    """Assert that `result` is the concatenation of `others`; distances may differ by rounding."""
    assert torch.equal(result.iterations, torch.cat([other.iterations for other in others]))
    for rule, kept in result.items():
        for name, values in columns(kept).items():
            expected = torch.cat([getattr(other[rule], name) for other in others])
            rounding = 0 if name in ("success", "const", "epsilon", "l0") else 1e-9
            torch.testing.assert_close(values, expected, rtol=rounding, atol=rounding, equal_nan=True)


@pytest.mark.filterwarnings("ignore:.* target class already")
@pytest.mark.parametrize("name", ["ead", "cw", "cov", "fgm", "ifgm"])
@settings(max_examples=8, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_attack_of_cat_is_cat_of_attacks(name: str, data: st.DataObject) -> None:
    """For any order of the rows, mix of β, κ and targets, cut and batch size."""
    model = smooth()
    rows = torch.tensor(data.draw(st.lists(st.integers(0, 7), min_size=1, max_size=9), label="rows"))
    batch = examples(model)[rows]
    batch = Batch(
        images=batch.images,
        labels=torch.tensor(data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))),
        beta=batch.beta[torch.randperm(len(rows), generator=torch.Generator().manual_seed(len(rows)))],
        kappa=batch.kappa,
    )
    cut = data.draw(st.integers(0, len(rows)), label="cut")
    sizes = [data.draw(st.integers(1, 10), label="batch size") for _ in range(3)]
    parts = [batch[torch.arange(cut)], batch[torch.arange(cut, len(rows))]]
    pairs = zip(parts, sizes[1:], strict=True)
    others = [run(name, model, part, size) for part, size in pairs if len(part.labels)]
    assert_same(run(name, model, batch, sizes[0]), others)


@pytest.mark.parametrize("name", ["ead", "cw", "cov", "fgm", "ifgm"])
@pytest.mark.parametrize("room", [1, 3, 7])
def test_a_batch_that_memory_does_not_hold_is_halved(name: str, room: int) -> None:
    batch = examples(smooth())
    assert_same(run(name, Crowded(smooth(), room), batch, 8), [run(name, smooth(), batch, 8)])


def test_no_room_for_one_image_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        run("ead", Crowded(smooth(), 0), examples(smooth()))


@pytest.mark.parametrize("name", ["ead", "cw", "cov", "fgm", "ifgm"])
def test_passes_are_counted_by_example(name: str) -> None:
    """Counts do not depend on the batch; a batch of one example has no rows that only fill it up."""
    batch = examples(smooth())
    whole, alone = run(name, smooth(), batch), run(name, smooth(), batch, 1)
    assert torch.equal(whole.forward_passes, alone.forward_passes)
    assert alone.computed >= alone.iterations.sum() - len(batch.labels)
    extra = whole.forward_passes - whole.iterations
    if name == "ead":  # x is tested where a success would change something, and once a window
        assert (extra <= whole.iterations + 5).all()
    if name in ("cw", "cov"):
        assert (extra <= 5).all()
    if name == "fgm":
        tried = torch.where(whole["linf"].success, (whole["linf"].epsilon / 0.05).round(), len(GRID))
        assert (whole.forward_passes - 2).tolist() == tried.tolist()


def test_iterates_that_could_change_nothing_are_not_tested() -> None:
    batch = examples(smooth())
    result = EAD(beta=batch.beta, max_iterations=200, learning_rate=0.1)(smooth(), batch.images, batch.labels)
    assert result.forward_passes.sum() < 1.9 * result.iterations.sum()


@pytest.mark.parametrize("name", ["ead", "cw", "cov", "fgm", "ifgm"])
def test_no_examples_give_an_empty_result(name: str) -> None:
    nothing = torch.arange(0)
    result = run(name, smooth(), examples(smooth())[nothing])
    assert result.iterations.shape == (0,)
    assert all(kept.images.shape == (0, 1, 4, 4) and kept.success.shape == (0,) for kept in result.values())


def test_a_row_that_stalls_does_not_end_its_neighbours() -> None:
    """The first image's gradient is zero (a dead ReLU): all its search steps are skipped."""
    weight = torch.tensor([0.0, 1.0], dtype=torch.float64)[:, None, None, None].repeat(1, 1, 2, 2)
    model = nn.Sequential(Linear(weight, torch.tensor([0.5, -1.0], dtype=torch.float64)), nn.ReLU())
    images = torch.tensor([0.05, 0.3, 0.45], dtype=torch.float64)[:, None, None, None].repeat(1, 1, 2, 2)
    labels = torch.tensor([1, 1, 1])
    attack = EAD(beta=0, kappa=0.5, binary_search_steps=4, max_iterations=50, initial_const=0.5)
    result = attack(model, images, labels)
    assert result["l2"].success.tolist() == [False, True, True]
    stalled, *others = result.iterations.tolist()
    assert stalled == 1
    assert stalled < min(others) and len(set(others)) == 2
    assert_same(result, [attack(model, images[row : row + 1], labels[row : row + 1]) for row in range(3)])


@pytest.mark.parametrize("lead", [-2.0, 0.0, 2.0])
@pytest.mark.parametrize(("iterations", "each"), [(1, 1), (2, 2), (5, 2), (9, 2), (25, 2), (100, 10), (1000, 100)])
def test_a_stalled_step_takes_a_tenth_of_the_iterations(iterations: int, each: int, lead: float) -> None:
    """For a constant objective that is positive, zero or negative; but a step goes on after a first success."""
    attack = CarliniWagner(kappa=1, max_iterations=iterations, binary_search_steps=3)
    model, image = Constant(torch.tensor([0, lead])), torch.full((1, 1, 2, 2), 0.5)
    first = iterations if lead > 1 else each
    assert attack(model, image, torch.tensor([1])).iterations.tolist() == [first + 2 * each]


@pytest.mark.parametrize("threshold", ["beta", "scaled"])
def test_a_step_that_cannot_leave_the_original_costs_nothing(threshold: Literal["beta", "scaled"]) -> None:
    """The slope of f is 1, so c must exceed threshold / learning rate = 1 to move x: 0.5 is skipped, 5 is run."""
    model = Linear(torch.tensor([[[[0.0, 0.0]]], [[[1.0, 1.0]]]]), torch.tensor([0.6, 0.0]))
    image, label = torch.full((1, 1, 1, 2), 0.2), torch.tensor([1])
    beta = 0.1 if threshold == "beta" else 1.0
    settings: dict[str, Any] = {"threshold": threshold, "beta": beta, "learning_rate": 0.1, "max_iterations": 20}
    two_steps = EAD(initial_const=0.5, binary_search_steps=2, **settings)(model, image, label)
    second_alone = EAD(initial_const=5, binary_search_steps=1, **settings)(model, image, label)
    assert two_steps["l1"].success.all()
    assert_same(two_steps, [second_alone])
    patient = EAD(initial_const=0.5, binary_search_steps=1, abort_early=False, **settings)(model, image, label)
    assert patient.iterations.tolist() == [20] and not patient["l1"].success.any()


@pytest.mark.parametrize("attack", [EAD, CarliniWagner, COV])
@pytest.mark.parametrize("iterations", [1, 7, 25])
def test_without_the_abort_every_step_takes_every_iteration(attack: type, iterations: int) -> None:
    batch = examples(smooth(), count=3)
    built = attack(max_iterations=iterations, binary_search_steps=3, abort_early=False)
    result = built(smooth(), batch.images, batch.labels, batch_size=2)
    assert result.iterations.tolist() == [3 * iterations] * 3 == [built.most_iterations] * 3


@pytest.mark.parametrize("name", ["ead", "cov"])
def test_one_trajectory_serves_every_rule(name: str) -> None:
    batch = examples(smooth())
    result = run(name, smooth(), batch)
    assert list(result) == ["en", "l1", "l2"]
    en, l1, l2 = (result[rule] for rule in ("en", "l1", "l2"))
    assert torch.equal(en.success, l1.success) and torch.equal(en.success, l2.success)
    won = en.success
    assert won.sum() >= 4

    def elastic(kept: Adversarial) -> Tensor:
        return (batch.beta * kept.l1 + kept.l2.square())[won]

    assert (l1.l1 <= en.l1 + 1e-12)[won].all() and (l1.l1 <= l2.l1 + 1e-12)[won].all()
    assert (elastic(en) <= elastic(l1) + 1e-12).all() and (elastic(en) <= elastic(l2) + 1e-12).all()
    assert (l2.l2 <= en.l2 + 1e-12)[won].all() and (l2.l2 <= l1.l2 + 1e-12)[won].all()
    if name == "ead":
        assert (l1.l1 < l2.l1 - 1e-6)[won].any()  # so they are not all one image


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["ead", "cw", "cov", "fgm", "ifgm"])
def test_every_reported_image_holds_when_tested_again(name: str, dtype: torch.dtype) -> None:
    """Alone and as stored, each image has a margin of at least κ, and the reported distances."""
    model, batch = smooth(dtype=dtype), examples(smooth())
    batch = Batch(images=batch.images.to(dtype), labels=batch.labels, beta=batch.beta, kappa=batch.kappa)
    kappa = torch.zeros(8) if name.endswith("fgm") else batch.kappa
    for kept in run(name, model, batch).values():
        assert kept.success.any()
        assert kept.images.dtype == dtype
        for row in kept.success.nonzero().flatten().tolist():
            image = kept.images[row : row + 1]
            lead = margin(model(image), batch.labels[row : row + 1], targeted=True).item()
            assert lead > 0 and lead >= kappa[row].item() - 1e-6
            assert kept.margin[row].item() == pytest.approx(lead, abs=1e-5)
            assert image.amin() >= 0 and image.amax() <= 1
            delta = image - batch.images[row]
            assert kept.l1[row].item() == pytest.approx(delta.abs().sum().item(), rel=1e-5)
            assert kept.l0[row].item() == (delta != 0).sum().item()


@pytest.mark.parametrize("name", ["ead", "cw", "cov", "fgm", "ifgm"])
@pytest.mark.parametrize("blank", [0.0, 1.0])
def test_a_failed_example_is_a_failed_row(name: str, blank: float) -> None:
    """On a constant model, blank images included: no success at any c or ε, no black image, no zero distance."""
    batch = examples(smooth())
    batch.images[3] = blank
    for kept in run(name, Constant(torch.zeros(4).double()), batch).values():
        assert not kept.success.any()
        assert torch.equal(kept.images, batch.images)
        for values in (kept.l0, kept.l1, kept.l2, kept.linf, kept.margin, kept.const, kept.epsilon):
            assert values.isnan().all()


@pytest.mark.parametrize("poison", ["nan", "inf", "-inf", "one inf", "nan gradient"])
@pytest.mark.parametrize("name", ["ead", "cw", "cov", "fgm", "ifgm"])
def test_a_row_of_broken_logits_fails_alone(name: str, poison: str) -> None:
    batch = examples(smooth())
    batch.images[2, 0, 0, 0] = 1
    others = torch.tensor([0, 1, 3, 4, 5, 6, 7])
    model = Poisoned(smooth(), poison)
    result = run(name, model, batch, batch_size=4)
    for kept in result.values():
        assert not kept.success[2]
        assert torch.equal(kept.images[2], batch.images[2])
        assert math.isnan(kept.l1[2])
    healthy = run(name, model, batch[others], batch_size=4)
    kept_others = {
        rule: Adversarial(**{name: values[others] for name, values in columns(kept).items()})
        for rule, kept in result.items()
    }
    passes = {name: getattr(result, name)[others] for name in ("iterations", "forward_passes")}
    assert_same(AttackResult(kept=kept_others, computed=result.computed, **passes), [healthy])


@pytest.mark.parametrize("fading", [0, 1e-3])
@pytest.mark.parametrize("name", ["ead", "cw", "cov", "fgm", "ifgm"])
def test_every_rule_is_tested_once_more_at_the_end(name: str, fading: float) -> None:
    """If the last calls, one per rule, give a margin of 0, every success fails; if a small one, those with κ > 0."""
    batch, counting = examples(smooth()), Fickle(smooth())
    result = run(name, counting, batch)
    fickle = Fickle(smooth(), faithful=counting.calls - len(result), fading=fading)
    for rule, kept in run(name, fickle, batch).items():
        assert result[rule].success.any()
        holds = torch.full((8,), fading > 0) if name.endswith("fgm") else (batch.kappa == 0) & (fading > 0)
        assert torch.equal(kept.success, result[rule].success & holds)
        assert torch.equal(kept.images[~kept.success], batch.images[~kept.success])
        for values in (kept.l1, kept.const, kept.epsilon):
            assert values[~kept.success].isnan().all()


def test_a_claim_that_is_not_confirmed_is_a_failed_row() -> None:
    model = Linear(torch.tensor([[[[0.0]]], [[[1.0]]]]), torch.tensor([0.0, -0.5]))
    originals, candidates = torch.full((3, 1, 1, 1), 0.2), torch.tensor([0.4, 0.7, 0.9])[:, None, None, None]
    kept = confirmed(
        model, originals, torch.tensor([1, 1, 1]), torch.tensor([True, True, False]), candidates,
        kappa=torch.zeros(3), targeted=True, batch_size=2, const=torch.tensor([1.0, 2.0, 3.0]),
    )  # fmt: skip
    assert kept.success.tolist() == [False, True, False]
    assert kept.images.flatten().tolist() == pytest.approx([0.2, 0.7, 0.2])
    torch.testing.assert_close(kept.const, torch.tensor([math.nan, 2, math.nan]), equal_nan=True)
    torch.testing.assert_close(kept.l2, torch.tensor([math.nan, 0.5, math.nan]), equal_nan=True)
