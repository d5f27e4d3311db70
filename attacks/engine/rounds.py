"""Attacks in rounds: a batch makes one query of each of its rows, and rows that are done make room for others.

An attack keeps its state in tensors with an entry for each of the N examples. So a row depends on its own example
alone, whichever rows share its batch.

Shapes: N examples, B rows of a batch, K classes, M losses, C × H × W values of an image.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from eadbench.attacks import distances
from eadbench.attacks.criterion import margin, succeeds
from eadbench.attacks.engine.inputs import Call
from eadbench.attacks.engine.ledger import Spent, rounding_of
from eadbench.attacks.engine.precision import exact_model, gradient_precision

__all__ = ["Answer", "Rounds"]

Losses = Callable[[Tensor], Tensor]
"""Logits (B, K) to M losses for each row (B, M)."""
Round = Callable[[Tensor], Tensor]
"""Make a query of the examples (B,); return (B,) bool: which of them are done."""


class Answer(NamedTuple):
    """What one query tells."""

    logits: Tensor
    """(B, K)."""
    margin: Tensor
    """(B,) the lead of the class to reach, or of another class over the one to leave."""
    rounding: Tensor
    """(B,) the rounding error of the margin."""
    adversarial: Tensor
    """(B,) bool: the margin is at least κ, by more than its rounding."""
    losses: Tensor
    """(B, M)."""
    gradients: Tensor
    """(B, M, C, H, W) the gradient of each loss; 0 where it is not finite, or was not asked for."""


class Rounds:
    """The examples of one call: their queries, the passes of each, and what the attack claims."""

    def __init__(self, call: Call, *, norm: str, targeted: bool, room: int) -> None:
        self.call, kappa = call, call.kappa
        self.model, self.exact_model = call.model, exact_model(call.model)
        self.images, self.labels, self.kappa, self.targeted = call.images, call.labels, kappa, targeted
        self.measure = distances.NORMS[norm]
        self.nearest, self.least = self.images.clone(), torch.full_like(kappa, torch.inf)
        self.gradients, self.forwards, self.nonfinite = (torch.zeros_like(self.labels) for _ in range(3))
        self.computed = 0
        self.batch = self.labels[:0]
        """(B,) the examples of the round."""
        self.epsilon: Tensor | None = None
        """(N,) the ε to report, if the attack has one."""
        self.found_by: list[str | None] | None = None
        """The member that broke each example, if the attack is an ensemble."""
        self.left = torch.ones_like(self.labels, dtype=torch.bool)
        """(N,) bool: the examples that are still attacked. A cascade takes broken ones out."""
        self.room = room
        """The most images that pass through the model at a time."""

    @property
    def greatest(self) -> Tensor:
        """(N,) the distance of the furthest corner of [0, 1]ᵖ."""
        return self.measure(torch.maximum(self.images, 1 - self.images))

    def repeat(self, play: Round, batch_size: int, examples: Tensor | None = None) -> int:
        """Play rounds until all `examples` (n,), or all that are left, are done; return the batch size that fitted."""
        if examples is None:
            examples = self.left.nonzero().squeeze(1)
        while len(examples):
            batch, waiting = examples[:batch_size], examples[batch_size:]
            self.batch = batch
            try:
                done = play(batch) | self.call.spent[batch]
            except Spent:
                done = self.call.spent[batch]
            except torch.OutOfMemoryError:
                if batch_size == self.room == 1:
                    raise
                batch_size, self.room = (max(1, size // 2) for size in (batch_size, self.room))
                continue
            examples = torch.cat([batch[~done], waiting])
        return batch_size

    def query(
        self, rows: Tensor, x: Tensor, losses: Losses, *, asking: Callable[[Answer], Tensor] | None = None
    ) -> Answer:
        """Query examples (B,) at `x` (B, C, H, W): a forward pass, and a backward pass for each loss.

        The forward pass tells which rows are `asking` for gradients (B,); by default, those that are not adversarial.
        """
        self.call.serve(rows, among=self.batch)
        x = x.detach().requires_grad_()
        with torch.enable_grad(), gradient_precision(self.model):
            logits: Tensor = self.model(x)
            values = losses(logits)
        answer = self._answer(rows, logits.detach(), x.detach(), values)
        wanted = ~answer.adversarial if asking is None else asking(answer)
        if not wanted.any():
            return answer
        self.call.serve(rows, wanted, among=self.batch)
        with torch.enable_grad(), gradient_precision(self.model):
            for m, loss in enumerate(values.unbind(1)):
                (gradient,) = torch.autograd.grad(loss.sum(), x, retain_graph=m + 1 < values.shape[1])
                self.nonfinite[rows] += wanted & ~gradient.flatten(1).sum(1).isfinite()
                answer.gradients[:, m] = gradient.nan_to_num(0.0, 0.0, 0.0)
        self.gradients[rows] += wanted * values.shape[1]
        self.computed += len(rows) * values.shape[1]
        return answer

    def test(self, rows: Tensor, x: Tensor) -> Answer:
        """Query examples (B,) at `x` (B, C, H, W) by a forward pass in the model's own precision, without a loss."""
        self.call.serve(rows, among=self.batch)
        self.forwards[rows] += 1
        return self._told(rows, self.exact_model(x), x, x.new_empty(len(x), 0))

    def look(self, rows: Tensor) -> Answer:
        """Test the unchanged images of `rows` (B,). Take out those that succeed already, or have no finite margin."""
        images = self.images[rows]
        answer = self.test(rows, images)
        self.claim(rows, images, answer.adversarial)
        self.left[rows] = ~answer.adversarial & answer.margin.isfinite()
        return answer

    def logits_at(self, rows: Tensor, x: Tensor) -> Tensor:
        """(B, M, K) the logits of M queries `x` (B, M, C, H, W) of each example, in the model's own precision."""
        logits = []
        for part in torch.split(x, max(1, self.room // len(rows)), dim=1):
            self.call.serve(rows, among=self.batch, each=part.shape[1])
            self.forwards[rows] += part.shape[1]
            logits.append(self.exact_model(part.flatten(0, 1)).reshape(*part.shape[:2], -1))
        return torch.cat(logits, 1)

    def claim(self, rows: Tensor, x: Tensor, adversarial: Tensor) -> None:
        """Keep `x` (B, C, H, W) for the rows where it is `adversarial` (B,) and nearer than what was kept before."""
        distance = self.measure(x - self.images[rows]).masked_fill(~adversarial, torch.inf)
        nearer = distance < self.least[rows]
        self.nearest[rows[nearer]], self.least[rows[nearer]] = x[nearer], distance[nearer]

    def _answer(self, rows: Tensor, logits: Tensor, x: Tensor, values: Tensor) -> Answer:
        """Count the forward passes of a query; in lower precision, test it once more."""
        self.forwards[rows] += 1
        if self.exact_model is not self.model:
            self.forwards[rows] += 1
            logits = self.exact_model(x)
        return self._told(rows, logits, x, values.detach())

    def _told(self, rows: Tensor, logits: Tensor, x: Tensor, values: Tensor) -> Answer:
        lead = margin(logits, self.labels[rows], targeted=self.targeted)
        rounding = rounding_of(logits)
        gradients = x.new_zeros(len(x), values.shape[1], *x.shape[1:])
        return Answer(logits, lead, rounding, succeeds(lead - rounding, self.kappa[rows]), values, gradients)
