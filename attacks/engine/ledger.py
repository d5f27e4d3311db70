"""What an attack has asked of its victim: the passes of each example, and the nearest adversarial image it queried.

A :class:`Metered` victim writes every pass into a :class:`Ledger`, and refuses passes beyond a budget. An engine says
which example each row of its batch is (`Ledger.serve`); everything else happens here, the same for every attack.

Shapes: N examples, B rows of a batch, R rules, K classes, C × H × W values of an image.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from eadbench.attacks.criterion import margin, succeeds
from eadbench.attacks.engine.precision import Precision, Wrapper, exact_model

__all__ = ["LEAST_BUDGET", "SHARES", "Ledger", "Measure", "Metered", "Spent", "Unserved", "rounding_of"]

ROUNDING = 16
"""The rounding error of a margin, in units in the last place of the greatest logit.

The nearest images lie on the decision boundary. The last test runs them in another batch, where rounding differs: half
of them would fail it without this guard.
"""

SHARES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""The shares of a budget after which a trace has the least distance so far."""

LEAST_BUDGET = 32
"""The least budget: its first share is one pass."""

UNLIMITED = 2**62
"""The passes of an example without a budget."""

Measure = Callable[[Tensor, Tensor], Tensor]
"""(δ (B, C, H, W), examples (B,)) to distances (B,)."""


def rounding_of(logits: Tensor) -> Tensor:
    """(B,) the rounding error of the margins of `logits` (B, K)."""
    return ROUNDING * torch.finfo(logits.dtype).eps * logits.abs().amax(1)


class Spent(Exception):
    """None of the examples that are attacked together can pay for another pass."""


class Unserved(Exception):
    """The attack has not said which examples the rows of its batch are."""


class Ledger:
    """The passes of N examples, and the nearest adversarial image that each has queried by each rule.

    Every tensor has one entry more than there are examples: the last is that of rows that only fill a batch.

    Parameters
    ----------
    budget
        The most passes of an example, forward and backward each counted; None for any number.
    measures
        The distance by each rule.
    targeted
        Whether labels are classes to reach, or classes to leave.
    """

    def __init__(self, budget: int | None, measures: Mapping[str, Measure], *, targeted: bool) -> None:
        self.budget, self.measures, self.targeted = budget, measures, targeted
        self.is_open = self.one_by_one = False

    def open(self, victim: nn.Module, images: Tensor, labels: Tensor, kappa: Tensor) -> None:
        """Begin for `images` (N, C, H, W), `labels` (N,) and the margins `kappa` (N,) on a victim."""
        self.victim = victim
        self.images, self.labels, self.kappa = (torch.cat([part, part[-1:]]) for part in (images, labels, kappa))
        count = len(self.images)
        self.passes = torch.zeros(count, dtype=torch.int64, device=images.device)
        self.backwards = self.passes.clone()
        """(N + 1,) backward passes among `passes`."""
        self.passes[-1:] = self.most
        self.least = images.new_full((count, len(self.measures)), torch.inf)
        self.nearest = self.images.unsqueeze(1).repeat(1, len(self.measures), 1, 1, 1)
        self.trace = images.new_full((count, len(self.measures), len(SHARES)), torch.inf)
        """(N + 1, R, 6) the least distance after each of :data:`SHARES` of the budget; infinite before a success."""
        self.limits = torch.tensor([int(share * self.most) for share in SHARES], device=images.device)
        self.is_open = True
        self.serve(self.passes[:0])

    def index(self, rule: str) -> int | None:
        """Return the index of a rule. An attack without rules may call its only result as it likes."""
        rules = list(self.measures)
        return rules.index(rule) if rule in rules else 0 if len(rules) == 1 else None

    @property
    def most(self) -> int:
        """The most passes of an example."""
        return UNLIMITED if self.budget is None else self.budget

    @property
    def spent(self) -> Tensor:
        """(N,) bool: whether an example has no pass left."""
        return self.passes[:-1] >= self.most

    def forget(self, examples: Tensor) -> None:
        """Begin anew for examples (n,) whose attack starts again."""
        self.passes[examples] = self.backwards[examples] = 0
        self.least[examples] = self.trace[examples] = torch.inf

    def serve(
        self, examples: Tensor, counted: Tensor | None = None, *, among: Tensor | None = None, each: int = 1
    ) -> None:
        """Say which examples (B,) the rows of the next passes are.

        An example occurs once, and has `each` rows, one after the other. Rows that are not `counted` (B,) bool only
        fill the batch. If the rows are only some of the examples that are attacked together, `among` (A,) names these.
        """
        self.together = examples if among is None else among
        if counted is not None:
            examples = torch.where(counted, examples, len(self.passes) - 1)
        self.rows = examples if each == 1 else examples.repeat_interleave(each)
        self.each, self.surely_left = each, 0

    def admit(self) -> Tensor:
        """(B,) bool: count a pass of each row that can pay for it.

        The host waits for a GPU only when the passes that were surely left are used up.

        Raises
        ------
        Spent
            None of the examples that are attacked together can.
        """
        left = self.most - self.passes[self.rows]
        if self.each > 1:
            left = left - torch.arange(len(left), device=left.device) % self.each
        if self.surely_left <= 0:
            most_left = self.most - self.passes[self.together]
            self.surely_left = int(most_left.amax()) if len(most_left) else 0
        if self.surely_left <= 0:
            raise Spent
        self.surely_left -= self.each
        admitted = left > 0
        self.passes.index_add_(0, self.rows, admitted.long())
        return admitted

    def record(self, x: Tensor, logits: Tensor, admitted: Tensor) -> None:
        """Keep the queries `x` (B, C, H, W) that are adversarial and nearer than all before them."""
        lead = margin(logits, self.labels[self.rows], targeted=self.targeted)
        values = x.flatten(1)
        inside = (values.amin(1) >= 0) & (values.amax(1) <= 1)
        adversarial = admitted & inside & succeeds(lead - rounding_of(logits), self.kappa[self.rows])
        if not x.is_cuda and not adversarial.any():
            return
        for first in range(self.each):
            rows = slice(first, None, self.each)
            self._keep(self.rows[rows], x[rows], adversarial[rows])

    def _keep(self, examples: Tensor, x: Tensor, adversarial: Tensor) -> None:
        delta = x - self.images[examples]
        in_time = adversarial.unsqueeze(1) & (self.passes[examples].unsqueeze(1) <= self.limits)
        for r, measure in enumerate(self.measures.values()):
            distance = measure(delta, examples).masked_fill(~adversarial, torch.inf)
            nearer = (distance < self.least[examples, r])[:, None, None, None]
            self.nearest[examples, r] = torch.where(nearer, x, self.nearest[examples, r])
            self.least[examples, r] = torch.minimum(self.least[examples, r], distance)
            far = distance.unsqueeze(1).masked_fill(~in_time, torch.inf)
            self.trace[examples, r] = torch.minimum(self.trace[examples, r], far)

    def failing(self, logits: Tensor) -> Tensor:
        """Logits shaped as `logits` (B, K) that fail by a margin of 1, for rows whose pass is not paid for."""
        own = torch.zeros_like(logits).scatter(1, self.labels[self.rows].unsqueeze(1), 1.0)
        return -own if self.targeted else own


class Metered(Wrapper):
    """A victim whose passes are written into a ledger.

    A row that cannot pay for a pass gets logits that fail, and a gradient of zero.

    Parameters
    ----------
    model
        Images (B, C, H, W) to logits (B, K).
    """

    def __init__(self, model: nn.Module, ledger: Ledger) -> None:
        super().__init__()
        self.model, self.ledger = model, ledger
        self.precision: Precision = model.precision if isinstance(model, Wrapper) else "float32"

    @property
    def exact(self) -> nn.Module:
        """The victim in its own precision, with the same ledger."""
        exact = exact_model(self.model)
        return self if exact is self.model else Metered(exact, self.ledger)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, K).

        Raises
        ------
        Spent
            None of the examples that are attacked together can pay for the pass.
        Unserved
            The ledger does not know the rows.
        """
        ledger = self.ledger
        if not ledger.is_open:
            raise Unserved
        if ledger.one_by_one:
            ledger.serve(ledger.rows[:1], each=len(images))
        admitted = ledger.admit()
        logits: Tensor = self.model(images)
        if ledger.one_by_one or self.exact is self:
            with torch.no_grad():
                ledger.record(images.detach(), logits.detach(), admitted)
        paid = torch.where(admitted.unsqueeze(1), logits, ledger.failing(logits.detach()))
        if paid.requires_grad:
            paid.register_hook(self._backward)  # type: ignore[no-untyped-call]
        return paid

    def _backward(self, gradient: Tensor) -> Tensor:
        """Count a backward pass of each row that can pay for it."""
        admitted = self.ledger.admit()
        self.ledger.backwards.index_add_(0, self.ledger.rows, admitted.long())
        return torch.where(admitted.unsqueeze(1), gradient, 0)
