"""The search over c and its descents, row by row: the batch stays full until no example waits.

Every row of the batch is an example on its own way: when its search step ends, by abort or at the last iteration,
its next step starts in the same slot at iteration 0; when its search ends, the slot goes to the next example that
waits. So nothing of a row depends on its neighbours, and the host looks at the batch once per tenth of the
iterations, where steps end.

Shapes: N examples, B slots, R decision rules, K classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eadbench.attacks import distances
from eadbench.attacks.criterion import attack_loss, margin, succeeds
from eadbench.attacks.engine.checks import check_inputs, per_example
from eadbench.attacks.engine.constants import UNBOUNDED, next_const
from eadbench.attacks.engine.frozen import frozen
from eadbench.attacks.engine.search import Descent, Objective, Rows, Search
from eadbench.attacks.result import AttackResult, confirmed

BATCH_SIZE = 128
"""Rows attacked at a time, unless the caller says otherwise."""

LEAST_FALL = 1e-4
"""The relative fall over a tenth of the iterations that a loss must exceed for its search step to go on."""


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
        batch_size = run.to_the_end(batch_size)
        kept = {
            rule: confirmed(
                run.objective.exact,
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
    return AttackResult(kept=kept, iterations=run.spent, forward_passes=run.seen + len(rules), computed=run.computed)


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
        self.seen = self.spent.clone()
        self.computed = 0
        self.best = images.new_full((count, len(rules)), torch.inf)
        self.best_const = images.new_full((count, len(rules)), torch.nan)
        self.best_image = images.new_zeros(count, len(rules), *images.shape[1:])

    def to_the_end(self, batch_size: int) -> int:
        """Walk all examples through a batch of at most `batch_size` slots; return the size that fitted.

        Where the device's memory does not hold the batch, those in it wait again, for one of half the size.
        """
        rows: Rows | None = None
        waiting = torch.arange(len(self.images), device=self.images.device)
        while rows is not None or len(waiting):
            try:
                if rows is None:
                    rows = self.admit(waiting[:batch_size])
                    waiting = waiting[batch_size:]
                rows, waiting = self.walk(rows, waiting)
            except torch.OutOfMemoryError:
                if batch_size == 1:
                    raise
                if rows is not None:
                    waiting = torch.cat([rows.example, waiting])
                    rows = None
                batch_size = batch_size // 2
        return batch_size

    def walk(self, rows: Rows, waiting: Tensor) -> tuple[Rows | None, Tensor]:
        """Take `rows` a tenth of the iterations further; those that are done make room for those `waiting`."""
        window = self.search.window
        for i in range(window):  # rows that run out of iterations on the way wait for the others
            x, logits = self.descent.iterate(self.objective, rows)
            lead = self.judge(rows, x, logits, closely=i == window - 1)
        self.computed += len(rows) * window
        self.end_steps(rows, x, lead)

        done = (rows.step >= self.search.binary_search_steps).nonzero().squeeze(1)
        if len(done):
            refilled, vacant = done[: len(waiting)], done[len(waiting) :]
            fresh = self.admit(waiting[: len(refilled)]) if len(refilled) else None
            self.collect(rows.take(done))
            if fresh is not None:
                rows.put(refilled, fresh)
            waiting = waiting[len(refilled) :]
            staying = torch.ones_like(rows.reached).index_fill(0, vacant, False)
            rows = rows.take(staying) if len(vacant) else rows
        return rows if len(rows) else None, waiting

    def admit(self, examples: Tensor) -> Rows:
        """Rows for `examples` (n,) at the start of their search."""
        image, label, kappa = self.images[examples], self.labels[examples], self.kappa[examples]
        logits = self.objective.exact(image)
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
            seen=count + 1,
            best=best,
            earlier=best.clone(),
            fresh=torch.zeros_like(count, dtype=torch.bool),
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

    def judge(self, rows: Rows, x: Tensor, logits: Tensor | None, *, closely: bool) -> Tensor:
        """Keep each row's iterate `x` where it succeeds and is better than its best; return its lead (B,).

        Whether it succeeds matters where it could be the step's first success, the best of all, or this tenth's
        first to beat what earlier steps kept. The lead is known only there, unless asked for `closely`: everywhere.
        """
        delta = x - rows.image
        l1, square = distances.l1(delta), distances.l2_squared(delta)
        by_rule = {"en": rows.beta * l1 + square, "l1": l1, "l2": square}
        distance = torch.stack([by_rule[rule] for rule in self.rules], dim=1)
        beats_earlier = (distance < rows.earlier).any(1)
        wanted = ~rows.reached | (distance < rows.best).any(1) | (beats_earlier & ~rows.fresh) | closely
        wanted &= self.objective.running(rows)
        lead = self.objective.lead(x, logits, rows, wanted, closely=closely)
        success = succeeds(lead, rows.kappa) & wanted

        better = success.unsqueeze(1) & (distance < rows.best)
        torch.where(better, distance, rows.best, out=rows.best)
        torch.where(better, rows.const.unsqueeze(1), rows.best_const, out=rows.best_const)
        torch.where(better[:, :, None, None, None], x.unsqueeze(1), rows.best_image, out=rows.best_image)
        rows.reached |= success
        rows.fresh |= success & beats_earlier
        rows.iteration += 1
        return lead

    def end_steps(self, rows: Rows, x: Tensor, lead: Tensor) -> None:
        """Start the next search step of every row that has no iterations left, or is aborted at `x`.

        A step goes on while its loss falls, or while it meets successes that are better than all that earlier steps
        kept: as its learning rate decays, EAD goes on to lower the L1 distance where its loss has long settled.
        """
        ended = rows.iteration >= self.search.max_iterations
        if self.search.abort_early:
            delta = x - rows.image
            loss = rows.const * attack_loss(lead, rows.kappa)
            loss += rows.beta * distances.l1(delta) + distances.l2_squared(delta)
            falls = rows.last_loss - loss > LEAST_FALL * rows.last_loss.abs()
            ended |= ~falls & ~rows.fresh
            rows.last_loss = loss
            rows.fresh.fill_(False)
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
        rows.fresh &= ~ended
        for part, start in zip(rows.state, self.descent.start(rows.image), strict=True):
            torch.where(ended[:, None, None, None], start, part, out=part)

    def collect(self, rows: Rows) -> None:
        """Store what rows that are done have found."""
        self.spent[rows.example] = rows.spent
        self.seen[rows.example] = rows.seen
        self.best[rows.example] = rows.best
        self.best_const[rows.example] = rows.best_const
        self.best_image[rows.example] = rows.best_image
