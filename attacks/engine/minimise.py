"""The search over c for many examples at once, in a batch that stays full while examples wait.

Every row of the batch is an example with its own progress. When its search step ends, by an abort or at the last
iteration, its next step starts in the same row at iteration 0. When its search ends, the next example takes its
place. So no row depends on its neighbours. The host reads from the device only at the end of a window of iterations.

Shapes: N examples, B rows, R decision rules, K classes.
"""

from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn

from eadbench.attacks import distances
from eadbench.attacks.criterion import attack_loss, margin, succeeds
from eadbench.attacks.engine.checks import per_example
from eadbench.attacks.engine.confirm import confirmed
from eadbench.attacks.engine.const_search import UNBOUNDED, const_end, next_const
from eadbench.attacks.engine.inputs import Call, attacked
from eadbench.attacks.engine.ledger import Spent
from eadbench.attacks.engine.progress import advance
from eadbench.attacks.engine.search import Descent, Objective, Rows, Search
from eadbench.attacks.result import AttackResult

LEAST_FALL = 1e-4
"""A search step goes on if its loss falls by more than this, relatively, in a window of iterations."""


LEAST_SWING = 1e-2
"""Before the first success, a search step goes on if its loss changes by more than this, relatively, in a window.

At a large c the iterates overshoot at first. Their loss rises and falls, and the step may succeed once αₖ is small.
"""


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
        Wrong images, labels, β or κ, or a model that does not return logits.
    """
    with attacked(model, images, labels, batch_size, targeted=search.targeted, kappa=search.kappa) as call:
        batch = Batch(
            descent=descent,
            search=search,
            objective=Objective(call, search),
            call=call,
            beta=per_example("beta", beta, call.images),
            rules=rules,
        )
        batch_size = batch.attack_all(batch_size)
        kept = {
            rule: confirmed(
                call.victim,
                call.images,
                call.labels,
                batch.best[:, r].isfinite(),
                batch.best_image[:, r],
                kappa=call.kappa,
                targeted=search.targeted,
                batch_size=batch_size,
                const=batch.best_const[:, r],
                guard=call.guard,
            )
            for r, rule in enumerate(rules)
        }
    return AttackResult(
        kept=kept,
        iterations=batch.gradients,
        forward_passes=batch.forwards + len(rules),
        computed=batch.computed,
        const_end=batch.const_end,
        nonfinite_gradients=batch.nonfinite,
    )


class Batch:
    """One call of :func:`minimise`: the examples, and the best successes of those that are done."""

    def __init__(
        self,
        *,
        descent: Descent,
        search: Search,
        objective: Objective,
        call: Call,
        beta: Tensor,
        rules: Sequence[str],
    ) -> None:
        self.descent, self.search, self.objective, self.rules = descent, search, objective, rules
        self.call, self.beta, images = call, beta, call.images
        count = len(images)
        self.gradients = torch.zeros(count, dtype=torch.int64, device=images.device)
        self.forwards, self.nonfinite = self.gradients.clone(), self.gradients.clone()
        self.const_end = torch.zeros(count, dtype=torch.int8, device=images.device)
        self.computed = 0
        self.best = images.new_full((count, len(rules)), torch.inf)
        self.best_const = images.new_full((count, len(rules)), torch.nan)
        self.best_image = images.new_zeros(count, len(rules), *images.shape[1:])

    def attack_all(self, batch_size: int) -> int:
        """Attack all examples, at most `batch_size` rows at a time; return the size that fitted into memory.

        If memory is short, the examples of the batch start again in a batch of half the size.
        """
        rows: Rows | None = None
        waiting = torch.arange(len(self.best), device=self.best.device)
        while rows is not None or len(waiting):
            try:
                if rows is None:
                    rows = self.start_rows(waiting[:batch_size])
                    waiting = waiting[batch_size:]
                rows, waiting = self.run_window(rows, waiting)
            except torch.OutOfMemoryError:
                if batch_size == 1:
                    raise
                if rows is not None:
                    self.call.forget(rows.example)
                    waiting = torch.cat([rows.example, waiting])
                    rows = None
                batch_size = batch_size // 2
        return batch_size

    def run_window(self, rows: Rows, waiting: Tensor) -> tuple[Rows | None, Tensor]:
        """Advance `rows` by a window of iterations; replace the rows that are done by examples that are `waiting`."""
        left = int((self.search.max_iterations - rows.iteration).amax())  # of the row that has most
        window = min(self.search.window, left)
        with suppress(Spent):  # then every row is done
            for i in range(window):  # rows that run out of iterations wait for the others
                x, logits = self.descent.iterate(self.objective, rows)
                margins, penalties = self.keep_best(rows, x, logits, every_row=i == window - 1)
                self.computed += len(rows)
            self.end_steps(rows, x, margins, penalties)

        done = (rows.step >= self.search.binary_search_steps) | self.call.spent[rows.example]
        done = done.nonzero().squeeze(1)
        if len(done):
            refilled, vacant = done[: len(waiting)], done[len(waiting) :]
            new_rows = self.start_rows(waiting[: len(refilled)]) if len(refilled) else None
            self.store(rows.take(done))
            if new_rows is not None:
                rows.put(refilled, new_rows)
            waiting = waiting[len(refilled) :]
            occupied = torch.ones_like(rows.step_succeeded).index_fill(0, vacant, False)
            rows = rows.take(occupied) if len(vacant) else rows
        advance(lambda: 1 - self.left(rows, waiting) / len(self.best))
        return rows if len(rows) else None, waiting

    def left(self, rows: Rows, waiting: Tensor) -> float:
        """Return how many examples' work is left, at the most: those that wait, and what the rows have left."""
        done = (rows.step + rows.iteration / self.search.max_iterations) / self.search.binary_search_steps
        return len(waiting) + float((1 - done).clamp(min=0).sum())

    def start_rows(self, examples: Tensor) -> Rows:
        """Rows for `examples` (n,) at the start of their search."""
        call = self.call
        image, label, kappa = call.images[examples], call.labels[examples], call.kappa[examples]
        call.serve(examples)
        logits = self.objective.exact_model(image)
        margins = margin(logits, label, targeted=self.search.targeted)
        start_loss = attack_loss(margins, kappa)
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
            step_succeeded=torch.zeros_like(count, dtype=torch.bool),
            last_loss=const * start_loss,
            gradients=count.clone(),
            forwards=count + 1,
            nonfinite=count.clone(),
            best=best,
            best_before=best.clone(),
            competed=torch.zeros_like(count, dtype=torch.bool),
            best_const=torch.full_like(best, torch.nan),
            best_image=image.unsqueeze(1).repeat(1, len(self.rules), 1, 1, 1),
            state=self.descent.start(image),
        )
        failing = ~succeeds(margins, kappa)
        if self.objective.guard is not None:
            penalties = self.objective.penalties(image, rows, torch.ones_like(failing))
            rows.start_loss += penalties
            rows.last_loss = const * rows.start_loss
            failing |= penalties > 0
        if self.search.abort_early:
            self.skip_idle_steps(rows, failing)
        return rows

    def skip_idle_steps(self, rows: Rows, failing: Tensor) -> None:
        """Skip the first search steps of a row while its c is too small to move it from x₀.

        Only rows that are `failing` (B,) at x₀ are skipped: their steps would fail too.
        """
        idle_const = self.descent.idle_const(self.objective, rows)
        for _ in range(self.search.binary_search_steps):
            idle = failing & (rows.const <= idle_const)
            self.start_next_steps(rows, idle)

    def keep_best(
        self, rows: Rows, x: Tensor, logits: Tensor | None, *, every_row: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Keep each row's iterate `x` where it succeeds and is better than its best.

        A row is tested where a success would change something: the first of the step, the best of all, or the first
        of this window that competes with the earlier steps. Elsewhere its margin is unknown, unless `every_row` is
        tested.

        Returns
        -------
        tuple of Tensor
            (B,) the margins, and the penalties of a guarded victim, None of another.
        """
        delta = x - rows.image
        l1, square = distances.l1(delta), distances.l2_squared(delta)
        by_rule = {"en": rows.beta * l1 + square, "l1": l1, "l2": square}
        distance = torch.stack([by_rule[rule] for rule in self.rules], dim=1)
        competes = (distance < self.descent.patience * rows.best_before).any(1)
        needed = ~rows.step_succeeded | (distance < rows.best).any(1) | (competes & ~rows.competed) | every_row
        needed &= self.objective.running(rows)
        margins = self.objective.exact_margin(x, logits, rows, needed, every_row=every_row)
        success = succeeds(margins, rows.kappa) & needed
        penalties = None
        if self.objective.guard is not None:
            penalties = self.objective.penalties(x, rows, needed if every_row else success)
            success &= penalties <= 0

        better = success.unsqueeze(1) & (distance < rows.best)
        torch.where(better, distance, rows.best, out=rows.best)
        torch.where(better, rows.const.unsqueeze(1), rows.best_const, out=rows.best_const)
        torch.where(better[:, :, None, None, None], x.unsqueeze(1), rows.best_image, out=rows.best_image)
        rows.step_succeeded |= success
        rows.competed |= success & competes
        rows.iteration += 1
        return margins, penalties

    def end_steps(self, rows: Rows, x: Tensor, margins: Tensor, penalties: Tensor | None = None) -> None:
        """Start the next search step of every row that has no iterations left, or is aborted at `x`.

        A step goes on while its loss falls, while it is still under way to its first move, while its loss swings and
        nothing has succeeded yet, or while its successes compete with those of the earlier steps: see
        :attr:`Descent.patience`.
        """
        ended = rows.iteration >= self.search.max_iterations
        if self.search.abort_early:
            delta = x - rows.image
            loss = attack_loss(margins, rows.kappa)
            loss = rows.const * (loss if penalties is None else loss + penalties)
            loss += rows.beta * distances.l1(delta) + distances.l2_squared(delta)
            fall, size = rows.last_loss - loss, rows.last_loss.abs()
            goes_on = (fall > LEAST_FALL * size) | rows.competed | self.descent.under_way(rows, x)
            goes_on |= rows.best.isinf().all(1) & (fall.abs() > LEAST_SWING * size)
            ended |= ~goes_on
            rows.last_loss = loss
            rows.competed.fill_(False)
        self.start_next_steps(rows, ended)

    def start_next_steps(self, rows: Rows, ended: Tensor) -> None:
        """Return the rows whose search step has `ended` (B,) to x₀, with their next c."""
        const, lower, upper = next_const(rows.const, rows.lower, rows.upper, rows.step_succeeded)
        rows.const = torch.where(ended, const, rows.const)
        rows.lower = torch.where(ended, lower, rows.lower)
        rows.upper = torch.where(ended, upper, rows.upper)
        rows.last_loss = torch.where(ended, rows.const * rows.start_loss, rows.last_loss)
        rows.best_before = torch.where(ended.unsqueeze(1), rows.best, rows.best_before)
        rows.step += ended
        rows.iteration.masked_fill_(ended, 0)
        rows.step_succeeded &= ~ended
        rows.competed &= ~ended
        for part, start in zip(rows.state, self.descent.start(rows.image), strict=True):
            torch.where(ended[:, None, None, None], start, part, out=part)

    def store(self, rows: Rows) -> None:
        """Store the best successes, the counts, and the end of the search of rows that are done."""
        self.gradients[rows.example] = rows.gradients
        self.forwards[rows.example] = rows.forwards
        self.nonfinite[rows.example] = rows.nonfinite
        solved = rows.start_loss <= -rows.kappa
        self.const_end[rows.example] = const_end(rows.lower, rows.upper, solved)
        self.best[rows.example] = rows.best
        self.best_const[rows.example] = rows.best_const
        self.best_image[rows.example] = rows.best_image
