"""Adam's averages of a gradient (Kingma and Ba 2015, algorithm 1), for a batch whose rows are at one iteration."""

from torch import Tensor

__all__ = ["Adam"]


class Adam:
    """The running averages of a gradient and of its square.

    Parameters
    ----------
    like
        A tensor of the gradient's shape.
    """

    def __init__(self, like: Tensor, *, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8) -> None:
        self.mean, self.square = like.new_zeros(like.shape), like.new_zeros(like.shape)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.count = 0

    def update(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Take in a gradient; return the unbiased mean, and the root of the unbiased mean square plus ε."""
        self.count += 1
        self.mean.lerp_(gradient, 1 - self.beta_1)
        self.square.mul_(self.beta_2).addcmul_(gradient, gradient, value=1 - self.beta_2)
        mean = self.mean / (1 - self.beta_1**self.count)
        return mean, (self.square / (1 - self.beta_2**self.count)).sqrt() + self.epsilon
