"""The search over c and its descents, row by row: the batch stays full until no example waits.

Every row of the batch is an example on its own way: when its search step ends, by abort or at the last iteration,
its next step starts in the same slot at iteration 0; when its search ends, the slot goes to the next example that
waits. So nothing of a row depends on its neighbours, and the host looks at the batch once per tenth of the
iterations, where steps end.

Shapes: N examples, B slots, R decision rules, K classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from attacks import distances
from attacks.constants import UNBOUNDED, next_const
from attacks.criterion import attack_loss, margin, succeeds
from attacks.frozen import check_inputs, frozen
from attacks.result import AttackResult, confirmed

BATCH_SIZE = 128
"""Rows attacked at a time, unless the caller says otherwise."""

LEAST_FALL = 1e-4
"""The relative fall over a tenth of the iterations that a loss must exceed for its search step to go on."""


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
    best: Tensor
    """(B, R) the least distance of a success by each rule, infinite before the first."""
    earlier: Tensor
    """(B, R) `best` when this search step began."""
    recent: Tensor
    """(B, R) the least distance of a success in this tenth of the iterations."""
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
        self.model = model
        self.search = search

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """(B, K) the model's logits at `x`."""
        logits: Tensor = self.model(x)
        return logits

    def running(self, rows: Rows) -> Tensor:
        """(B,) bool: whether the row has iterations left; else it waits for its batch's tenth to end."""
        return (rows.iteration < self.search.max_iterations) & (rows.step < self.search.binary_search_steps)

    def margin(self, logits: Tensor, rows: Rows) -> Tensor:
        """(B,) each row's lead towards its own label."""
        return margin(logits, rows.label, targeted=self.search.targeted)

    def gradient(self, x: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        """The logits (B, K) at `x`, and the gradient (B, C, H, W) of each row's c·f; counted in `rows.spent`."""
        rows.spent += self.running(rows)
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            logits: Tensor = self.model(x)
            loss = rows.const * attack_loss(self.margin(logits, rows), rows.kappa)
            (gradient,) = torch.autograd.grad(loss.sum(), x)
        return logits.detach(), gradient


class Descent(Protocol):
    """An algorithm that walks from x₀ towards a lower objective."""

    def start(self, images: Tensor) -> tuple[Tensor, ...]:
        """The state at k = 0; fresh tensors, one row per image."""

    def still(self, objective: Objective, rows: Rows) -> Tensor:
        """(B,) the greatest c with which a row at x₀ stays there, whatever the number of iterations."""

    def iterate(self, objective: Objective, rows: Rows) -> tuple[Tensor, Tensor]:
        """Advance `rows.state` in place by one gradient; return the iterate to be judged and its logits."""


def minimise(
    descent: Descent,
    search: Search,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    rules: Sequence[str],
    beta: float | Tensor,
    batch_size: int,
) -> AttackResult:
    """Attack every example by `descent` under `search`, and keep the best success by each of `rules`.

    Raises
    ------
    ValueError
        Images, labels, β, κ or the model's output are not what they should be.
    """
    with frozen(model), torch.no_grad():
        labels = check_inputs(model, images, labels, batch_size)
        run = _Run(
            descent=descent,
            search=search,
            objective=Objective(model, search),
            images=images,
            labels=labels,
            beta=per_example("beta", beta, images),
            kappa=per_example("kappa", search.kappa, images),
            rules=rules,
        )
        run.to_the_end(batch_size)
        kept = {
            rule: confirmed(
                model,
                images,
                labels,
                run.best[:, r].isfinite(),
                run.best_image[:, r],
                kappa=run.kappa,
                targeted=search.targeted,
                batch_size=batch_size,
                const=run.best_const[:, r],
            )
            for r, rule in enumerate(rules)
        }
    return AttackResult(kept=kept, iterations=run.spent)


def per_example(name: str, value: float | Tensor, images: Tensor) -> Tensor:
    """`value` as a tensor (N,) of the images' type and device.

    Raises
    ------
    ValueError
        A tensor of another length.
    """
    values = torch.as_tensor(value, dtype=images.dtype, device=images.device)
    if values.ndim and values.shape != images.shape[:1]:
        raise ValueError(f"{name} must be a number or a tensor ({len(images)},), got a tensor {tuple(values.shape)}")
    return values.expand(len(images))


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a `value` that is none of `choices`.

    Raises
    ------
    ValueError
        In one line, with what was given.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def check_not_negative(name: str, value: float | Tensor) -> None:
    """Refuse a number, or a tensor that holds one, that is negative or not finite.

    Raises
    ------
    ValueError
        In one line, with what was given.
    """
    values = torch.as_tensor(value)
    if not ((values >= 0) & values.isfinite()).all():
        raise ValueError(f"{name} must be finite and not negative, got {values.tolist()}")


class _Run:
    """One call of :func:`minimise`: the examples, the batch that walks through them, and what it found."""

    def __init__(
        self,
        *,
        descent: Descent,
        search: Search,
        objective: Objective,
        images: Tensor,
        labels: Tensor,
        beta: Tensor,
        kappa: Tensor,
        rules: Sequence[str],
    ) -> None:
        self.descent, self.search, self.objective, self.rules = descent, search, objective, rules
        self.images, self.labels, self.beta, self.kappa = images, labels, beta, kappa
        count = len(images)
        self.spent = torch.zeros(count, dtype=torch.int64, device=images.device)
        self.best = images.new_full((count, len(rules)), torch.inf)
        self.best_const = images.new_full((count, len(rules)), torch.nan)
        self.best_image = images.new_zeros(count, len(rules), *images.shape[1:])

    def to_the_end(self, batch_size: int) -> None:
        """Walk all examples through a batch of at most `batch_size` slots."""
        waiting = torch.arange(len(self.images), device=self.images.device)
        if not len(waiting):
            return
        rows = self.admit(waiting[:batch_size])
        waiting = waiting[batch_size:]
        while len(rows):
            for _ in range(self.search.window):  # rows that run out of iterations on the way wait for the rest
                x, logits = self.descent.iterate(self.objective, rows)
                self.judge(rows, x, logits)
            self.end_steps(rows, x, logits)
            done = (rows.step >= self.search.binary_search_steps).nonzero().squeeze(1)
            if len(done):
                self.collect(rows.take(done))
                fresh, waiting = waiting[: len(done)], waiting[len(done) :]
                if len(fresh):
                    rows.put(done[: len(fresh)], self.admit(fresh))
                if len(fresh) < len(done):
                    rows = rows.take((rows.step < self.search.binary_search_steps).nonzero().squeeze(1))

    def admit(self, examples: Tensor) -> Rows:
        """Rows for `examples` (n,) at the start of their search."""
        image, label, kappa = self.images[examples], self.labels[examples], self.kappa[examples]
        logits = self.objective.logits(image)
        lead = margin(logits, label, targeted=self.search.targeted)
        start_loss = attack_loss(lead, kappa)
        const = torch.full_like(kappa, self.search.initial_const)
        count = torch.zeros_like(examples)
        best = self.best[examples]
        rows = Rows(
            example=examples,
            image=image,
            label=label,
            beta=self.beta[examples],
            kappa=kappa,
            start_loss=start_loss,
            const=const,
            lower=torch.zeros_like(const),
            upper=torch.full_like(const, UNBOUNDED),
            step=count,
            iteration=count.clone(),
            reached=torch.zeros_like(count, dtype=torch.bool),
            last_loss=const * start_loss,
            spent=count.clone(),
            best=best,
            earlier=best.clone(),
            recent=best.clone(),
            best_const=torch.full_like(best, torch.nan),
            best_image=image.unsqueeze(1).repeat(1, len(self.rules), 1, 1, 1),
            state=self.descent.start(image),
        )
        if self.search.abort_early:
            self.pass_over(rows, ~succeeds(lead, kappa))
        return rows

    def pass_over(self, rows: Rows, failing: Tensor) -> None:
        """Abort, before they begin, the first search steps of rows whose c is too small to move them from x₀.

        Such a step fails if x₀ does, as it does in the rows that are `failing` (B,).
        """
        still = self.descent.still(self.objective, rows)
        for _ in range(self.search.binary_search_steps):
            passed = failing & (rows.const <= still)
            self.next_steps(rows, passed)

    def judge(self, rows: Rows, x: Tensor, logits: Tensor) -> None:
        """Keep each row's iterate `x` where it succeeds and is better than its best."""
        lead = self.objective.margin(logits, rows)
        success = succeeds(lead, rows.kappa) & self.objective.running(rows)
        delta = x - rows.image
        l1, square = distances.l1(delta), distances.l2_squared(delta)
        by_rule = {"en": rows.beta * l1 + square, "l1": l1, "l2": square}
        distance = torch.stack([by_rule[rule] for rule in self.rules], dim=1)

        better = success.unsqueeze(1) & (distance < rows.best)
        torch.where(better, distance, rows.best, out=rows.best)
        torch.where(better, rows.const.unsqueeze(1), rows.best_const, out=rows.best_const)
        torch.where(better[:, :, None, None, None], x.unsqueeze(1), rows.best_image, out=rows.best_image)
        torch.where(success.unsqueeze(1) & (distance < rows.recent), distance, rows.recent, out=rows.recent)
        rows.reached |= success
        rows.iteration += 1

    def end_steps(self, rows: Rows, x: Tensor, logits: Tensor) -> None:
        """Start the next search step of every row that has no iterations left, or is aborted at the iterate `x`.

        A step goes on while its loss falls, or while it meets successes that are better than all that earlier steps
        kept: as its learning rate decays, EAD goes on to lower the L1 distance where its loss has long settled.
        """
        delta = x - rows.image
        loss = rows.const * attack_loss(self.objective.margin(logits, rows), rows.kappa)
        loss += rows.beta * distances.l1(delta) + distances.l2_squared(delta)
        ended = rows.iteration >= self.search.max_iterations
        if self.search.abort_early:
            falls = rows.last_loss - loss > LEAST_FALL * rows.last_loss.abs()
            ended |= ~falls & ~(rows.recent < rows.earlier).any(1)
        rows.last_loss = loss
        rows.recent.fill_(torch.inf)
        self.next_steps(rows, ended)

    def next_steps(self, rows: Rows, ended: Tensor) -> None:
        """Take the rows whose search step has `ended` (B,) back to x₀, with their next c."""
        const, lower, upper = next_const(rows.const, rows.lower, rows.upper, rows.reached)
        rows.const = torch.where(ended, const, rows.const)
        rows.lower = torch.where(ended, lower, rows.lower)
        rows.upper = torch.where(ended, upper, rows.upper)
        rows.last_loss = torch.where(ended, rows.const * rows.start_loss, rows.last_loss)
        rows.earlier = torch.where(ended.unsqueeze(1), rows.best, rows.earlier)
        rows.step += ended
        rows.iteration.masked_fill_(ended, 0)
        rows.reached &= ~ended
        for part, start in zip(rows.state, self.descent.start(rows.image), strict=True):
            torch.where(ended[:, None, None, None], start, part, out=part)

    def collect(self, rows: Rows) -> None:
        """Store what rows that are done have found."""
        self.spent[rows.example] = rows.spent
        self.best[rows.example] = rows.best
        self.best_const[rows.example] = rows.best_const
        self.best_image[rows.example] = rows.best_image
