"""The parts of a search over c: its settings, its batch of rows, its objective, and the algorithm that descends.

Shapes: B rows, R decision rules, K classes.
"""

import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor

from eadbench.attacks.criterion import attack_loss, margin, succeeds
from eadbench.attacks.engine.checks import check_not_negative
from eadbench.attacks.engine.const_search import UNBOUNDED
from eadbench.attacks.engine.inputs import Call
from eadbench.attacks.engine.precision import exact_model, gradient_precision


@dataclass(frozen=True, kw_only=True)
class Search:
    """The settings of a search over c; see :class:`attacks.EAD` for the fields."""

    kappa: float | Tensor
    learning_rate: float
    binary_search_steps: int
    max_iterations: int
    initial_const: float
    abort_early: bool
    targeted: bool

    @classmethod
    def from_attack(cls, attack: Any) -> Self:
        """Copy the settings from the fields of `attack`."""
        return cls(**{field.name: getattr(attack, field.name) for field in fields(cls)})

    def __post_init__(self) -> None:
        for name in ("binary_search_steps", "max_iterations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "initial_const"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.initial_const >= UNBOUNDED:
            raise ValueError(f"initial_const must be below {UNBOUNDED:g}, got {self.initial_const:g}")
        check_not_negative("kappa", self.kappa)

    @property
    def window(self) -> int:
        """Iterations between two tests of the abort: a tenth of all, at least two so that a fall can be seen."""
        return max(2, self.max_iterations // 10)


@dataclass(kw_only=True)
class Rows:
    """The batch: every tensor holds one entry per row."""

    example: Tensor
    """(B,) the index of the row's example among the N."""
    image: Tensor
    """(B, C, H, W) x₀."""
    label: Tensor
    beta: Tensor
    kappa: Tensor
    start_loss: Tensor
    """(B,) f at x₀."""
    const: Tensor
    lower: Tensor
    upper: Tensor
    step: Tensor
    """(B,) search steps done."""
    iteration: Tensor
    """(B,) k, iterations done in this search step."""
    step_succeeded: Tensor
    """(B,) bool: whether this search step has succeeded."""
    last_loss: Tensor
    """(B,) the objective at the end of the last window."""
    gradients: Tensor
    """(B,) gradient evaluations so far."""
    forwards: Tensor
    """(B,) forward passes so far."""
    nonfinite: Tensor
    """(B,) gradient evaluations so far with a derivative that is not finite."""
    best: Tensor
    """(B, R) the least distance of a success by each rule, infinite before the first."""
    best_before: Tensor
    """(B, R) `best` when this search step began."""
    competed: Tensor
    """(B,) bool: whether a success in this window was less, by any rule, than `patience` × `best_before`."""
    best_const: Tensor
    best_image: Tensor
    """(B, R, C, H, W)."""
    state: tuple[Tensor, ...]
    """The state of the descent, (B, C, H, W) each. Stands last: `tensors` and `take` rely on that."""

    def __len__(self) -> int:
        return len(self.example)

    def tensors(self) -> list[Tensor]:
        """Every tensor, the state's last."""
        *own, state = (getattr(self, field.name) for field in fields(self))
        return [*own, *state]

    def take(self, slots: Tensor) -> "Rows":
        """The rows in `slots`, as a smaller batch."""
        names = [field.name for field in fields(self)][:-1]
        return Rows(
            **{name: getattr(self, name)[slots] for name in names},
            state=tuple(part[slots] for part in self.state),
        )

    def put(self, slots: Tensor, rows: "Rows") -> None:
        """Write `rows` into `slots`."""
        for own, new in zip(self.tensors(), rows.tensors(), strict=True):
            own[slots] = new


class Objective:
    """c·f(x) of the rows of a batch, of a guarded victim c·(f(x) + penalty(x)); counts the passes of each row."""

    def __init__(self, call: Call, search: Search) -> None:
        self.model, self.exact_model = call.model, exact_model(call.model)
        self.serve, self.search, self.guard = call.serve, search, call.guard
        self.in_whole_batches = call.images.is_cuda
        """Whether iterates are tested in whole batches: to know which rows need one, the host would wait for a GPU."""

    @torch.no_grad()
    def exact_margin(self, x: Tensor, logits: Tensor | None, rows: Rows, needed: Tensor, *, every_row: bool) -> Tensor:
        """Each row's margin at `x`, in the model's own precision, where it is `needed` (B,).

        If `logits` (B, K) already have that precision, no pass is made. Otherwise a CPU runs the model on the needed
        rows alone, and a GPU on the whole batch.
        A CPU with a model in lower precision first tests the needed rows in that precision, and those that succeed
        once more in the model's own; with `every_row` it tests all of them in the model's own precision at once.

        Returns
        -------
        Tensor
            (B,): -inf for a row that failed in lower precision; undefined where the margin is not needed.
        """
        if logits is not None and self.exact_model is self.model:
            return self.margin(logits, rows.label)
        if self.in_whole_batches:
            rows.forwards += needed
            self.serve(rows.example, needed)
            return self.margin(self.exact_model(x), rows.label)
        slots = needed.nonzero().squeeze(1)
        if self.exact_model is not self.model and not every_row:
            if logits is None:
                rows.forwards[slots] += 1
                self.serve(rows.example[slots], among=rows.example)
                logits = self.model(x[slots])
            else:
                logits = logits[slots]
            slots = slots[succeeds(self.margin(logits, rows.label[slots]), rows.kappa[slots])]
        rows.forwards[slots] += 1
        margins = torch.full_like(rows.const, -torch.inf)
        if len(slots):
            self.serve(rows.example[slots], among=rows.example)
            margins[slots] = self.margin(self.exact_model(x[slots]), rows.label[slots])
        return margins

    @torch.no_grad()
    def penalties(self, x: Tensor, rows: Rows, needed: Tensor) -> Tensor:
        """(B,) the penalty of a guarded victim's detector at `x` where it is `needed` (B,), and 0 elsewhere."""
        penalties = torch.zeros_like(rows.const)
        slots = needed.nonzero().squeeze(1)
        if self.guard is not None and len(slots):
            rows.forwards[slots] += self.guard.passes
            penalties[slots] = self.guard.penalty(x[slots])
        return penalties

    def running(self, rows: Rows) -> Tensor:
        """(B,) bool: whether the row has iterations left. A row without any waits for the end of the window."""
        return (rows.iteration < self.search.max_iterations) & (rows.step < self.search.binary_search_steps)

    def margin(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(B,) each row's margin in the mode of the search."""
        return margin(logits, labels, targeted=self.search.targeted)

    def gradient(self, x: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        """The logits (B, K) at `x`, and the gradient (B, C, H, W) of each row's objective; counts both passes.

        A pixel whose derivative is not finite counts as one with derivative 0; the others keep theirs.
        """
        running = self.running(rows)
        rows.gradients += running
        rows.forwards += running
        self.serve(rows.example, running)
        x = x.detach().requires_grad_()
        with torch.enable_grad(), gradient_precision(self.model):
            logits: Tensor = self.model(x)
            loss = attack_loss(self.margin(logits, rows.label), rows.kappa)
            if self.guard is not None:
                rows.forwards += running * self.guard.passes
                loss = loss + self.guard.penalty(x)
            (gradient,) = torch.autograd.grad((rows.const * loss).sum(), x)
        rows.nonfinite += running & ~gradient.flatten(1).sum(1).isfinite()
        return logits.detach(), gradient.nan_to_num(0.0, 0.0, 0.0)


class Descent(Protocol):
    """An algorithm that walks from x₀ towards a lower objective.

    Attributes
    ----------
    patience
        A search step goes on while it has a success whose distance by some rule (β‖δ‖₁ + ‖δ‖₂², ‖δ‖₁, ‖δ‖₂²) is less
        than `patience` times the least of the earlier steps.
    """

    patience: ClassVar[float]

    def start(self, images: Tensor) -> tuple[Tensor, ...]:
        """The state at k = 0; new tensors, one row per image."""

    def idle_const(self, objective: Objective, rows: Rows) -> Tensor:
        """(B,) the greatest c at which a row never leaves x₀, however many iterations it takes."""

    def under_way(self, rows: Rows, x: Tensor) -> Tensor:
        """(B,) bool: whether a row has not moved `x` from x₀ yet, but is on its way to; its loss says nothing yet."""

    def iterate(self, objective: Objective, rows: Rows) -> tuple[Tensor, Tensor | None]:
        """Advance `rows.state` in place by one gradient; return the iterate to test, and its logits if known."""
