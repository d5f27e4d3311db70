"""What a defence is."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import nn
from torch.utils.data import Dataset

from eadbench.models import Recipe

__all__ = ["Defense", "Fit"]

Fit = Callable[..., None]
"""`models.train`, told by the caller on which device, whom to report to, and where to keep its checkpoint."""


class Defense(Protocol):
    """A frozen keyword-only dataclass; its fields are what a spec gives, and with its name a recipe's `defense`."""

    def needs(self, recipe: Recipe) -> Mapping[str, Recipe]:
        """The models that `recipe` is trained from, by the part that they play."""

    def train(
        self,
        recipe: Recipe,
        data: Dataset[Any],
        *,
        needed: Mapping[str, nn.Module],
        examples: Dataset[Any] | None,
        fit: Fit,
    ) -> nn.Module:
        """The trained model of `recipe`, in eval mode.

        Parameters
        ----------
        data
            The training split: pairs of an image (C, H, W) in [0, 1] and an int label.
        needed
            What :meth:`needs` asks for, trained and in eval mode.
        examples
            Adversarial examples of training images with their true labels, for a defence that learns from them.
        fit
            Trains a model in place.
        """
