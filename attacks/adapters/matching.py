"""The victim that another library is given: it tells which examples the rows of each query are.

Shapes: G examples of one call of the library, B rows of a query.
"""

import torch
from torch import Tensor, nn

from eadbench.attacks.engine.inputs import Call

__all__ = ["Matched", "UnmatchedError", "aligned"]


class UnmatchedError(Exception):
    """A query has more rows than the call has examples."""


class Matched(nn.Module):
    """The victim of one call of a library, whose passes are counted for each example.

    Libraries drop the rows that are done. The rows left keep their order, so they are matched to the examples by the
    order-preserving assignment of the least distances. Queries are clipped to [0, 1]. The gradient passes straight
    through, since torch gives a clamp the gradient 0 at its bounds, where most pixels of MNIST are.

    Parameters
    ----------
    call
        The call of the attack.
    examples : Tensor
        (G,) the examples that the library is given; their images differ.
    """

    def __init__(self, call: Call, examples: Tensor) -> None:
        super().__init__()
        self.call, self.examples = call, examples
        self.images = call.images[examples]
        self.rows = torch.arange(len(examples), device=examples.device)
        self.forwards, self.backwards = torch.zeros_like(examples), torch.zeros_like(examples)
        parameter = next(call.victim.parameters(), None)
        if parameter is not None:  # libraries ask the first parameter for the device
            self.device_of = nn.Parameter(parameter.new_zeros(1), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, K).

        Raises
        ------
        UnmatchedError
            There are more rows than examples, and more than one example.
        """
        images = images.to(self.images)
        images = images + (images.clamp(0, 1) - images).detach()
        rows = self.match(images.detach())
        self.call.serve(self.examples[rows], among=self.examples)
        logits: Tensor = self.call.model(images)
        self.forwards.index_add_(0, rows, torch.ones_like(rows))
        if logits.requires_grad:
            logits.register_hook(lambda _: self.count_backward(rows))  # type: ignore[no-untyped-call]
        return logits

    def count_backward(self, rows: Tensor) -> None:
        """Count a backward pass of each row."""
        self.backwards.index_add_(0, rows, torch.ones_like(rows))

    def match(self, images: Tensor) -> Tensor:
        """(B,) the index, among the examples of the call, of each row."""
        count = len(self.examples)
        if count == 1:
            return self.rows.new_zeros(len(images))
        if len(images) > count:
            raise UnmatchedError
        if len(images) == count:
            return torch.arange(count, device=images.device)
        if len(images) != len(self.rows):
            self.rows = aligned(torch.cdist(images.flatten(1), self.images.flatten(1)))
        return self.rows


def aligned(cost: Tensor) -> Tensor:
    """(B,) the ascending columns of `cost` (B, G), one for each row, whose total is the least."""
    total = torch.zeros_like(cost[0])
    choices = []
    for row in cost:
        total = total + row
        total, column = total.cummin(0)  # the least up to each column, and where it is
        choices.append(column)
        total = torch.cat([total.new_full((1,), torch.inf), total[:-1]])  # the next row stands further right
    columns, last = [], cost.shape[1] - 1
    for column in reversed(choices):
        last = int(column[last])
        columns.append(last)
        last -= 1
    return torch.tensor(columns[::-1], device=cost.device)
