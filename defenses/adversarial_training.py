"""Adversarial training as in the paper's supplement: adversarial examples, with their true labels, join the data.

"1,000 training images" are drawn from those that the undefended network classifies correctly, and attacked on it
towards every incorrect class. The network is then trained anew on the training set and its examples together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import nn
from torch.utils.data import ConcatDataset, Dataset

from eadbench.defenses.defense import Crafting, Defense, Fit
from eadbench.defenses.undefended import Undefended
from eadbench.models import Recipe, train

__all__ = ["AdversarialTraining"]


@dataclass(frozen=True, kw_only=True)
class AdversarialTraining(Defense):
    """Training on the adversarial examples of attacks on the undefended network.

    Parameters
    ----------
    attacks
        Entries as in a spec: `[{name: cw}, {name: ead, decision_rules: [l1]}]`.
    images
        Number of training images to attack.
    seed
        Seed of their order.
    """

    LABEL: ClassVar[str] = "adversarial training"

    attacks: Sequence[Mapping[str, Any]]
    images: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.attacks:
            raise ValueError("attacks must be a list of at least one attack")
        if self.images < 1:
            raise ValueError(f"images must be at least 1, got {self.images}")

    def needs(self, recipe: Recipe) -> Mapping[str, Recipe]:
        """The undefended network."""
        if recipe.training is None:
            raise ValueError("training is missing: adversarial training trains the network anew")
        return {"undefended": replace(recipe, defense={"name": "none"})}

    def crafts(self) -> Crafting:
        """Examples of the attacks on the undefended network."""
        return Crafting(on="undefended", attacks=self.attacks, images=self.images, seed=self.seed)

    def train(
        self,
        recipe: Recipe,
        data: Dataset[Any],
        *,
        needed: Mapping[str, nn.Module],
        examples: Dataset[Any] | None,
        fit: Fit = train,
    ) -> nn.Module:
        """The network trained anew on `data` and `examples`."""
        assert examples is not None  # `crafts` asks for them
        joined: Dataset[Any] = ConcatDataset([data, examples])
        return Undefended().train(recipe, joined, fit=fit)
