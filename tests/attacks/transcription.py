"""A slow transcription of the paper's algorithms: one example at a time, in the order of the paper.

Control flow is Python's, on Python's numbers; torch serves for arrays of pixels, derivatives, and Adam.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eadbench.attacks import AttackResult

RULES = ("en", "l1", "l2")
Settings = dict[str, Any]
"""An attack's fields, as plain numbers."""


@dataclass
class Winner:
    """The best success by one decision rule."""

    distance: float = math.inf
    const: float = math.nan
    image: Tensor | None = None


@dataclass
class Outcome:
    """The outcome of an attack on one example."""

    winners: dict[str, Winner] = field(default_factory=lambda: {rule: Winner() for rule in RULES})
    iterations: int = 0


def logit_gap(model: nn.Module, x: Tensor, label: int, targeted: bool) -> Tensor:
    """max_{j != t} Z_j - Z_t of equation 3; equation 6's, its opposite, if not targeted."""
    logits: Tensor = model(x.unsqueeze(0))[0]
    others = torch.cat([logits[:label], logits[label + 1 :]]).max(dim=0).values
    return others - logits[label] if targeted else logits[label] - others


def f(model: nn.Module, x: Tensor, label: int, kappa: float, targeted: bool) -> Tensor:
    """Equation 3, or 6."""
    return logit_gap(model, x, label, targeted).clamp(min=-kappa)


def objective(
    model: nn.Module, x: Tensor, x0: Tensor, label: int, c: float, beta: float, kappa: float, targeted: bool
) -> Tensor:
    """Equation 7."""
    return c * f(model, x, label, kappa, targeted) + beta * (x - x0).abs().sum() + ((x - x0) ** 2).sum()


def judge(
    outcome: Outcome, model: nn.Module, x: Tensor, x0: Tensor, label: int, c: float, settings: Settings
) -> dict[str, float] | None:
    """Keep `x` by each rule under which it is the best success so far; return its distances if it succeeds."""
    lead = -logit_gap(model, x, label, settings["targeted"]).item()
    if not (lead > 0 and lead >= settings["kappa"]):
        return None
    l1, square = (x - x0).abs().sum().item(), ((x - x0) ** 2).sum().item()
    distances = {"en": settings["beta"] * l1 + square, "l1": l1, "l2": square}
    for rule, distance in distances.items():
        if distance < outcome.winners[rule].distance:
            outcome.winners[rule] = Winner(distance, c, x.clone())
    return distances


def next_c(c: float, lower: float, upper: float, success: bool) -> tuple[float, float, float]:
    """The rule of Carlini and Wagner's code, l2_attack.py."""
    if success:
        upper = min(upper, c)
        if upper < 1e9:
            c = (lower + upper) / 2
    else:
        lower = max(lower, c)
        c = (lower + upper) / 2 if upper < 1e9 else c * 10
    return c, lower, upper


class Abort:
    """Aborts a search step if, in a window, the objective did not fall and no success competed with earlier steps.

    Before the first success of all, the objective must have settled, too.
    """

    def __init__(
        self, outcome: Outcome, rules: tuple[str, ...], start: float, settings: Settings, *, patience: float
    ) -> None:
        self.before, self.enabled, self.patience = start, settings["abort_early"], patience
        self.window = max(2, settings["max_iterations"] // 10)
        self.outcome = outcome
        self.earlier = {rule: outcome.winners[rule].distance for rule in rules}
        self.recent = dict.fromkeys(rules, math.inf)

    def met(self, distances: dict[str, float]) -> None:
        """Record a success in this window."""
        self.recent = {rule: min(least, distances[rule]) for rule, least in self.recent.items()}

    def at(self, iterations: int, loss: float, under_way: bool = False) -> bool:
        """Whether the step ends after this number of iterations; not while x is still `under_way` to its first move."""
        if not self.enabled or iterations % self.window != 0:
            return False
        before, self.before = self.before, loss
        competes = any(self.recent[rule] < self.patience * self.earlier[rule] for rule in self.earlier)
        self.recent = dict.fromkeys(self.recent, math.inf)
        swings = abs(before - loss) > 1e-2 * abs(before)
        if swings and all(math.isinf(self.outcome.winners[rule].distance) for rule in self.earlier):
            return False
        return not before - loss > 1e-4 * abs(before) and not competes and not under_way


def shrunk(z: Tensor, x0: Tensor, threshold: float) -> Tensor:
    """Equation 8."""
    above = torch.minimum(z - threshold, torch.ones_like(z))
    below = torch.maximum(z + threshold, torch.zeros_like(z))
    return torch.where(z - x0 > threshold, above, torch.where(z - x0 < -threshold, below, x0))


Step = Callable[["Outcome", nn.Module, Tensor, int, float, Settings], bool]


def search(step: Step, model: nn.Module, x0: Tensor, label: int, settings: Settings) -> Outcome:
    """Search over c; `step` runs one search step and returns whether it succeeded."""
    outcome, c, lower, upper = Outcome(), settings["initial_const"], 0.0, 1e10
    for _ in range(settings["binary_search_steps"]):
        succeeded = step(outcome, model, x0, label, c, settings)
        c, lower, upper = next_c(c, lower, upper, succeeded)
    return outcome


def assert_agrees(result: AttackResult, outcomes: list[Outcome], originals: Tensor) -> None:
    """Assert that success, c and iterations are equal, and images and distances up to rounding, by every rule."""
    assert result.iterations.tolist() == [outcome.iterations for outcome in outcomes]
    for rule, kept in result.items():
        winners = [outcome.winners[rule] for outcome in outcomes]
        assert kept.success.tolist() == [winner.image is not None for winner in winners], rule
        pairs = zip(winners, originals, strict=True)
        expected = torch.stack([x0 if winner.image is None else winner.image for winner, x0 in pairs])
        torch.testing.assert_close(kept.images, expected, rtol=0, atol=1e-9)
        consts = torch.tensor([winner.const for winner in winners], dtype=originals.dtype)
        torch.testing.assert_close(kept.const, consts, rtol=1e-12, atol=0, equal_nan=True)
        delta = (expected - originals).flatten(1)
        delta = delta.masked_fill(~kept.success.unsqueeze(1), torch.nan)
        for order, distance in ((1, kept.l1), (2, kept.l2), (torch.inf, kept.linf)):
            length = torch.linalg.vector_norm(delta, ord=order, dim=1)
            torch.testing.assert_close(distance, length, rtol=1e-8, atol=1e-9, equal_nan=True)
        changed = (delta != 0).sum(1).to(delta.dtype).masked_fill(~kept.success, torch.nan)
        torch.testing.assert_close(kept.l0, changed, rtol=0, atol=0, equal_nan=True)


def ead_step(outcome: Outcome, model: nn.Module, x0: Tensor, label: int, c: float, settings: Settings) -> bool:
    """Algorithm 1 at one c."""
    beta, kappa, targeted = settings["beta"], settings["kappa"], settings["targeted"]
    last = settings["max_iterations"]
    x, y, succeeded = x0.clone(), x0.clone(), False
    start = objective(model, x0, x0, label, c, beta, kappa, targeted).item()
    abort = Abort(outcome, RULES, start, settings, patience=2)
    if settings["abort_early"] and not outcome.iterations:
        outcome.iterations = 1  # the gradient at x0 shows at which c the first step moves
    for k in range(last):
        alpha = settings["learning_rate"] * math.sqrt(1 - k / last)
        y = y.detach().requires_grad_()
        loss = f(model, y, label, kappa, targeted)
        dropped = settings["l2_gradient"] == "while_failing" and loss.item() == -kappa
        g = c * loss + (0 if dropped else ((y - x0) ** 2).sum())
        (gradient,) = torch.autograd.grad(g, y)
        threshold = {"beta": beta, "scaled": alpha * beta}[settings["threshold"]]
        with torch.no_grad():
            x_new = shrunk(y - alpha * gradient, x0, threshold)
            momentum = {"paper": k / (k + 3), "code": (k + 1) / (k + 4)}[settings["momentum"]]
            y = x_new + momentum * (x_new - x) if settings["method"] == "fista" else x_new
            x = x_new
            distances = judge(outcome, model, x, x0, label, c, settings)
            if settings["abort_early"] and k == 0 and torch.equal(x, x0) and not distances:
                return False  # it will never move
            outcome.iterations += 1
            if distances:
                succeeded = True
                abort.met(distances)
            if abort.at(k + 1, objective(model, x, x0, label, c, beta, kappa, targeted).item()):
                break
    return succeeded


def tanh_step(outcome: Outcome, model: nn.Module, x0: Tensor, label: int, c: float, settings: Settings) -> bool:
    """C&W's change of variable at one c, under a fresh Adam."""
    beta, kappa, targeted = settings["beta"], settings["kappa"], settings["targeted"]
    start_w = torch.atanh((2 * x0 - 1) * (1 - 1e-6))
    w = start_w.clone().requires_grad_()
    adam, succeeded = torch.optim.Adam([w], lr=settings["learning_rate"]), False
    start = objective(model, x0, x0, label, c, beta, kappa, targeted).item()
    abort = Abort(outcome, settings.get("rules", RULES), start, settings, patience=1)
    for k in range(settings["max_iterations"]):
        x = (torch.tanh(w) + 1) / 2
        loss = objective(model, x, x0, label, c, beta, kappa, targeted)
        (w.grad,) = torch.autograd.grad(loss, w)
        adam.step()
        outcome.iterations += 1
        with torch.no_grad():
            if distances := judge(outcome, model, x.detach(), x0, label, c, settings):
                succeeded = True
                abort.met(distances)
        inwards = torch.where(x0 > 0.5, start_w - w.detach(), w.detach() - start_w).max().item()
        halfway = settings["learning_rate"] * (k + 1) / 2
        unmoved = (x - x0).abs().max().item() < 1e-3
        if abort.at(k + 1, loss.item(), under_way=unmoved and inwards >= halfway):
            break
    return succeeded


def fgm(
    model: nn.Module, x0: Tensor, label: int, epsilon: float, *, norm: str, targeted: bool, steps: int = 1
) -> Tensor | None:
    """Equations 1 and 2 in `steps` steps of ε/steps; None if the gradient at x0 is zero."""
    x = x0
    for taken in range(steps):
        x = x.detach().requires_grad_()
        loss = F.cross_entropy(model(x.unsqueeze(0)), torch.tensor([label]))
        (gradient,) = torch.autograd.grad(loss, x)
        if not gradient.any():
            if not taken:
                return None
            continue
        if norm == "linf":
            direction = gradient.sign()
        else:
            direction = gradient / torch.linalg.vector_norm(gradient, ord=int(norm[1]))
        with torch.no_grad():
            delta = x + (-1 if targeted else 1) * epsilon / steps * direction - x0
            if norm == "linf":
                delta = delta.clamp(-epsilon, epsilon)
            elif (length := torch.linalg.vector_norm(delta, ord=int(norm[1])).item()) > epsilon:
                delta = delta * epsilon / length
            x = (x0 + delta).clamp(0, 1)
    return x.detach()
