"""Attacks on a budget of passes: what is counted, what is kept, and what a row does when its budget is spent."""

import math
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from eadbench.attacks import (
    ALMA,
    COV,
    DDN,
    EAD,
    FAB,
    FGM,
    FMN,
    IFGM,
    PDPGD,
    Budgeted,
    BudgetedCarliniWagner,
    BudgetedEAD,
    CarliniWagner,
    SigmaZero,
)
from eadbench.attacks.budgeted_ead import REFINEMENT
from eadbench.attacks.contract.victims import labels_to_attack, small_images, small_net
from eadbench.attacks.criterion import margin
from eadbench.attacks.distances import NORMS
from eadbench.attacks.engine.ledger import SHARES
from eadbench.attacks.engine.precision import LowerPrecision
from tests.attacks.contract.broken import Sound

SEARCH: dict[str, Any] = {"binary_search_steps": 3, "max_iterations": 25, "initial_const": 0.5}
ATTACKS = [
    EAD(**SEARCH, beta=1e-2),
    CarliniWagner(**SEARCH, learning_rate=0.05),
    COV(**SEARCH, learning_rate=0.05),
    FGM(norm="l2"),
    IFGM(norm="linf"),
    DDN(steps=100),
    FMN(norm="l1", steps=100),
    PDPGD(norm="l2", steps=100),
    ALMA(norm="l1", steps=100),
    SigmaZero(steps=100),
]
WITHOUT_ABORT = [
    EAD(**SEARCH, beta=1e-2, abort_early=False),
    CarliniWagner(**SEARCH, learning_rate=0.05, abort_early=False),
]
"""An odd number of iterations: a row waits for the end of its window."""
each_attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.LABEL)


class Spied(nn.Module):
    """`model`; keeps every query and its logits, in order, and counts backward passes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.queries, self.passes = model, list[tuple[int, Tensor, Tensor]](), 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        logits: Tensor = self.model(x)
        self.queries.append((self.passes, x.detach().clone(), logits.detach()))
        if logits.requires_grad:
            logits.register_hook(self.count)  # type: ignore[no-untyped-call]
        return logits

    def count(self, _: Tensor) -> None:
        self.passes += 1


def problem() -> tuple[nn.Module, Tensor, Tensor]:
    images = small_images(5)
    return small_net(), images, labels_to_attack(small_net(), images, targeted=True)


def by_hand(victim: Spied, image: Tensor, label: Tensor, norm: str, budget: int) -> Iterator[float]:
    """The least distance of the adversarial queries within each share of the budget; the first look is free."""
    for share in SHARES:
        within = [(x, logits) for passes, x, logits in victim.queries[1:] if passes - 1 <= int(share * budget)]
        distances = [
            NORMS[norm](x - image).item()
            for x, logits in within
            if margin(logits, label, targeted=True) > 1e-6 and x.min() >= 0 and x.max() <= 1
        ]
        yield min(distances, default=torch.nan)


@each_attack
@pytest.mark.parametrize("budget", [32, 75])
def test_a_trace_is_what_the_victim_saw(attack: Any, budget: int) -> None:
    model, images, labels = problem()
    for row in range(len(images)):
        one, victim = slice(row, row + 1), Spied(model)
        result = Budgeted(attack=attack, budget=budget, best_queried=True)(victim, images[one], labels[one])
        spent = int(result.iterations + result.forward_passes)
        assert spent <= budget
        assert spent + 1 <= victim.passes <= spent + 1 + 2 * len(result)
        victim.queries = [query for query in victim.queries if query[0] <= 1 + spent]
        for rule, kept in result.items():
            if rule == "en":
                continue
            expected = [*by_hand(victim, images[one], labels[one], rule, budget)]
            assert kept.trace is not None
            torch.testing.assert_close(kept.trace[0], torch.tensor(expected), equal_nan=True)
            torch.testing.assert_close(getattr(kept, rule)[0], kept.trace[0, -1], equal_nan=True)


@pytest.mark.parametrize("lower", [False, True], ids=["own precision", "lower precision"])
@pytest.mark.parametrize("attack", [*ATTACKS, *WITHOUT_ABORT], ids=lambda attack: attack.LABEL)
def test_rows_on_a_budget_do_not_depend_on_the_batch(attack: Any, lower: bool) -> None:
    model, images, labels = problem()
    model, images = model.double(), images.double()
    model = LowerPrecision(model, "tf32") if lower else model
    on_budget = Budgeted(attack=attack, budget=60, best_queried=True)
    whole = on_budget(model, images, labels)
    for batch_size in (1, 3):
        parts = on_budget(model, images, labels, batch_size=batch_size)
        assert torch.equal(whole.iterations, parts.iterations)
        assert torch.equal(whole.forward_passes, parts.forward_passes)
        for rule, kept in whole.items():
            torch.testing.assert_close(kept.images, parts[rule].images)
            torch.testing.assert_close(kept.trace, parts[rule].trace, equal_nan=True)


@each_attack
def test_a_budget_that_is_never_reached_changes_nothing(attack: Any) -> None:
    model, images, labels = problem()
    free, ample = attack(model, images, labels), Budgeted(attack=attack, budget=10**6)(model, images, labels)
    assert torch.equal(free.iterations, ample.iterations)
    tests = 1 if isinstance(attack, FGM | IFGM) else len(free)
    assert torch.equal(free.forward_passes - tests, ample.forward_passes)
    for rule, kept in free.items():
        assert torch.equal(kept.images, ample[rule].images)
        assert torch.equal(kept.success, ample[rule].success)


def test_the_nearest_query_keeps_the_margin() -> None:
    model, images, labels = problem()
    attack = Budgeted(attack=EAD(**SEARCH, kappa=0.5), budget=80, best_queried=True)
    for kept in attack(model, images, labels).values():
        assert kept.success.any() and (kept.margin[kept.success] >= 0.5).all()


def test_the_nearest_query_may_be_nearer_than_what_is_returned() -> None:
    model, images, labels = problem()
    attack = Sound(epsilon=0.5)
    with pytest.raises(ValueError, match="best_queried needs a distance, but Sound declares no NORMS"):
        Budgeted(attack=attack, best_queried=True)

    class Further(Sound):
        """Queries one step, and returns two."""

        NORMS = ("linf",)

        def step(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
            near = super().step(model, images, labels)
            model(near)
            return (2 * near - images).clamp(0, 1)

    returned = Further(epsilon=0.2)(model, images, labels)["linf"]
    nearest = Budgeted(attack=Further(epsilon=0.2), best_queried=True)(model, images, labels)["linf"]
    both = returned.success & nearest.success
    assert both.any() and (nearest.linf[both] < returned.linf[both]).any()
    assert nearest.trace is None


@pytest.mark.parametrize("given", [{"best_queried": True}, {"budget": 40}])
def test_a_query_beyond_a_fixed_epsilon_is_no_success(given: dict[str, Any]) -> None:
    model, images, labels = problem()
    free = Budgeted(attack=FAB(norm="l2", steps=20), **given)(model, images, labels)["l2"]
    epsilon = free.l2[free.success].median().item()
    bounded = Budgeted(attack=FAB(norm="l2", epsilon=epsilon, steps=20), **given)(model, images, labels)["l2"]
    assert bounded.success.any() and not bounded.success.all()
    assert (bounded.l2[bounded.success] <= epsilon * (1 + 1e-5)).all()


def test_an_attack_that_the_budget_ends_is_reported_by_its_nearest_query() -> None:
    class Endless(Sound):
        """Takes tiny steps for ever, and returns nothing."""

        NORMS = ("l2",)

        def step(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
            while True:
                images = super().step(model, images, labels)

    model, images, labels = problem()
    result = Budgeted(attack=Endless(epsilon=0.02), budget=64)(model, images, labels)
    assert (result.iterations == 32).all() and (result.forward_passes == 32).all()
    assert result["l2"].success.any()
    assert torch.equal(result["l2"].success, result["l2"].l2.isfinite())


def test_passes_in_lower_precision_are_counted_and_only_exact_ones_are_kept() -> None:
    model, images, labels = problem()
    result = Budgeted(attack=FMN(norm="l2", steps=20), budget=48)(LowerPrecision(model, "bf16"), images, labels)
    assert (result.iterations == 16).all() and (result.forward_passes == 32).all()  # a test in float32 in each step
    trace = result["l2"].trace
    assert trace is not None
    torch.testing.assert_close(trace[:, -1], result["l2"].l2, equal_nan=True)


def test_budgets_too_small_are_refused() -> None:
    with pytest.raises(ValueError, match="budget must be at least 32, got 31"):
        Budgeted(attack=FMN(norm="l2"), budget=31)


def plain_runs(attack: BudgetedEAD, image: list[float]) -> Iterator[tuple[Any, float, float, float, int]]:
    """The start (None for the nearest image), learning rate, first c, adaptation and length of each run."""
    assert attack.searches is not None
    rate, const, adaptation = REFINEMENT[attack.norm]
    ends = [round(attack.steps * end / (attack.searches + 0.5)) for end in range(attack.searches + 1)]
    for search in range(attack.searches):
        noise = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(attack.seed + search)).flatten().tolist()
        middle = [(value + other) / 2 for value, other in zip(image, noise, strict=True)]
        count = ends[search + 1] - ends[search]
        yield middle if search else image, *attack.descent, count
    yield (None, rate, const, adaptation, attack.steps - ends[-1])


def plain_search(model: nn.Module, image: Tensor, label: int, attack: BudgetedEAD, beta: float) -> float:
    """One example of :class:`BudgetedEAD`, pixel by pixel; the least distance of an adversarial y."""
    origin, least = image.flatten().tolist(), math.inf
    nearest = origin
    norm = {"l1": lambda delta: sum(map(abs, delta)), "l2": lambda delta: math.sqrt(sum(d * d for d in delta))}
    for begin, learning_rate, c, adaptation, count in plain_runs(attack, origin):
        x = y = nearest if begin is None else begin
        delta = [abs(a - b) for a, b in zip(y, origin, strict=True)]
        last = beta + 2 * (max(delta) if attack.norm == "l1" else math.hypot(*delta))
        c *= last if begin is None else beta or 1
        for k in range(count):
            point = torch.tensor(y, dtype=image.dtype).view(1, 1, 4, 4).requires_grad_()
            lead = margin(model(point), torch.tensor([label]), targeted=True)
            gradient = [-value for value in torch.autograd.grad(lead.sum(), point)[0].flatten().tolist()]
            adversarial = lead.item() > 0
            distance = norm[attack.norm]([a - b for a, b in zip(y, origin, strict=True)])
            if adversarial and distance < least:
                least, nearest = distance, y
            length = max(map(abs, gradient)) if attack.norm == "l1" else math.hypot(*gradient)
            push = 0 if adversarial else c / length
            rate = learning_rate * math.sqrt(1 - k / count)
            step = []
            for value, start, slope in zip(y, origin, gradient, strict=True):
                delta = value - rate * (push * slope + 2 * (value - start)) - start
                delta = math.copysign(max(abs(delta) - rate * beta, 0), delta)
                step.append(min(max(start + delta, 0), 1))
            y = [min(max(new + k / (k + 3) * (new - old), 0), 1) for new, old in zip(step, x, strict=True)]
            x = step
            c *= math.exp((-1 if adversarial else 1) * adaptation / count)
    return least


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_ead_on_a_budget_agrees_with_a_plain_transcription(norm: Literal["l1", "l2"]) -> None:
    model, images, labels = problem()
    model, images = model.double(), images.double()
    beta = 0.7 if norm == "l1" else 0.0
    attack = BudgetedEAD(
        norm=norm, steps=40, searches=2, beta=beta, learning_rate=0.1, initial_const=9.0, adaptation=4.0, seed=5
    )
    kept = attack(model, images, labels)[norm]
    least = [plain_search(model, *row, attack, beta) for row in zip(images, labels.tolist(), strict=True)]
    assert any(map(math.isfinite, least))
    expected = torch.tensor([value if math.isfinite(value) else math.nan for value in least], dtype=torch.float64)
    torch.testing.assert_close(getattr(kept, norm), expected, rtol=1e-9, atol=1e-12, equal_nan=True)


def test_carlini_wagner_on_a_budget_is_ead_without_beta() -> None:
    model, images, labels = problem()
    settings: dict[str, Any] = {"steps": 60, "searches": 2, "seed": 3, "kappa": 0.1}
    ours = BudgetedCarliniWagner(**settings)(model, images, labels)["l2"]
    ead = BudgetedEAD(norm="l2", beta=0.0, **settings)(model, images, labels)["l2"]
    assert ours.success.any() and torch.equal(ours.images, ead.images)


def test_a_named_setting_spends_its_budget() -> None:
    model, images, labels = problem()
    for attack in (EAD.within(64, "l1"), EAD.within(64, "l2"), CarliniWagner.within(64)):
        result = attack(model, images, labels)
        assert (result.iterations == 32).all() and (result.forward_passes == 32).all()
