"""The words of a search over c: what it is told, what it knows of each row, and what algorithms ask of it.

Shapes: B rows, R decision rules, K classes.
"""

import math
from dataclasses import dataclass, fields
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from eadbench.attacks.criterion import attack_loss, margin, succeeds
from eadbench.attacks.engine.checks import check_not_negative
from eadbench.attacks.engine.precision import exact, searching


@dataclass(frozen=True, kw_only=True)
class Search:
    """What every search over c is told; see :class:`attacks.EAD` for the fields."""

    kappa: float | Tensor
    learning_rate: float
    binary_search_steps: int
    max_iterations: int
    initial_const: float
    abort_early: bool
    targeted: bool

    @classmethod
    def of(cls, attack: Any) -> Self:
        """The fields of `attack` that are the search's."""
        return cls(**{field.name: getattr(attack, field.name) for field in fields(cls)})

    def __post_init__(self) -> None:
        for name in ("binary_search_steps", "max_iterations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "initial_const"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        check_not_negative("kappa", self.kappa)

    @property
    def window(self) -> int:
        """A tenth of the iterations: how often the abort is tested. At least two, so that there is a fall to see."""
        return max(2, self.max_iterations // 10)


@dataclass(kw_only=True)
class Rows:
    """The batch: every tensor holds one entry per slot."""

    example: Tensor
    """(B,) which of the N examples sits in the slot."""
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
    reached: Tensor
    """(B,) bool: whether this search step has succeeded."""
    last_loss: Tensor
    """(B,) the objective a tenth of the iterations ago."""
    spent: Tensor
    """(B,) gradient evaluations so far."""
    seen: Tensor
    """(B,) forward passes so far."""
    best: Tensor
    """(B, R) the least distance of a success by each rule, infinite before the first."""
    earlier: Tensor
    """(B, R) `best` when this search step began."""
    fresh: Tensor
    """(B,) bool: whether this tenth of the iterations has met a success better, by any rule, than `earlier`."""
    best_const: Tensor
    best_image: Tensor
    """(B, R, C, H, W)."""
    state: tuple[Tensor, ...]
    """What the descent keeps of each row; (B, C, H, W) each. Stands last, which `tensors` and `take` rely on."""

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

    def put(self, slots: Tensor, others: "Rows") -> None:
        """Write the rows of `others` into `slots`."""
        for mine, theirs in zip(self.tensors(), others.tensors(), strict=True):
            mine[slots] = theirs


class Objective:
    """c·f(x) of the rows of a batch, as algorithms ask for it."""

    def __init__(self, model: nn.Module, search: Search) -> None:
        self.model, self.exact = model, exact(model)
        self.search = search

    @torch.no_grad()
    def lead(self, x: Tensor, logits: Tensor | None, rows: Rows, wanted: Tensor, *, closely: bool) -> Tensor:
        """Each row's lead at `x`, in the model's own precision, where it is `wanted` (B,).

        Unless the `logits` (B, K) at `x` are known in that precision, the model runs, and a forward pass is counted,
        where the lead is wanted. That spares a CPU the other rows; a GPU would have to wait to learn which they are,
        and computes all. A CPU that searches in lower precision looks in that first, and unless it is to look
        `closely` passes over the rows that do not succeed there.

        Returns
        -------
        Tensor
            (B,): -inf where the row was passed over, and of no meaning where its lead is not wanted.
        """
        if logits is not None and self.exact is self.model:
            return self.margin(logits, rows.label)
        if x.is_cuda:
            rows.seen += wanted
            return self.margin(self.exact(x), rows.label)
        slots = wanted.nonzero().squeeze(1)
        if self.exact is not self.model and not closely:
            if logits is None:
                rows.seen[slots] += 1
                logits = self.model(x[slots])
            else:
                logits = logits[slots]
            slots = slots[succeeds(self.margin(logits, rows.label[slots]), rows.kappa[slots])]
        rows.seen[slots] += 1
        lead = torch.full_like(rows.const, -torch.inf)
        if len(slots):
            lead[slots] = self.margin(self.exact(x[slots]), rows.label[slots])
        return lead

    def running(self, rows: Rows) -> Tensor:
        """(B,) bool: whether the row has iterations left; else it waits for its batch's tenth to end."""
        return (rows.iteration < self.search.max_iterations) & (rows.step < self.search.binary_search_steps)

    def margin(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(B,) each row's lead towards what the attack wants of its label."""
        return margin(logits, labels, targeted=self.search.targeted)

    def gradient(self, x: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        """The logits (B, K) at `x`, and the gradient (B, C, H, W) of each row's c·f; both counted."""
        running = self.running(rows)
        rows.spent += running
        rows.seen += running
        x = x.detach().requires_grad_()
        with torch.enable_grad(), searching(self.model):
            logits: Tensor = self.model(x)
            loss = rows.const * attack_loss(self.margin(logits, rows.label), rows.kappa)
            (gradient,) = torch.autograd.grad(loss.sum(), x)
        return logits.detach(), gradient


class Descent(Protocol):
    """An algorithm that walks from x₀ towards a lower objective."""

    def start(self, images: Tensor) -> tuple[Tensor, ...]:
        """The state at k = 0; fresh tensors, one row per image."""

    def still(self, objective: Objective, rows: Rows) -> Tensor:
        """(B,) the greatest c with which a row at x₀ stays there, whatever the number of iterations."""

    def iterate(self, objective: Objective, rows: Rows) -> tuple[Tensor, Tensor | None]:
        """Advance `rows.state` in place by one gradient; return the iterate to be judged, and its logits if known."""
