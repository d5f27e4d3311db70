"""A network fitted to a data set: its probabilities made logits, its classes picked.

Shape letters: N images, K classes of the data set, L logits of the network.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eadbench.models import hubs
from eadbench.models.ensemble import Ensemble
from eadbench.models.normalised import Normalised
from eadbench.models.recipe import Recipe
from eadbench.models.registry import build, classes_of, initial_parameters

__all__ = ["Adapted", "build_network", "outputs_breach"]

ROUNDING = 1e-3
"""How far the sum of probabilities may be from 1."""


class Adapted(nn.Module):
    """A network whose outputs are fitted to a data set.

    Parameters
    ----------
    network
        Maps images (N, C, H, W) to (N, L).
    probabilities
        Whether the network returns probabilities, whose logarithm is taken. Below the smallest normal float they
        count as that, so that the logarithm is finite.
    class_map
        The network's class of each class of the data set; None if they are the same.
    """

    class_map: Tensor | None

    def __init__(self, network: nn.Module, *, probabilities: bool, class_map: Sequence[int] | None) -> None:
        super().__init__()
        self.network, self.probabilities = network, probabilities
        indices = None if class_map is None else torch.tensor(class_map)
        self.register_buffer("class_map", indices, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, K) of images (N, C, H, W) in [0, 1]."""
        logits: Tensor = self.network(images)
        if self.probabilities:
            logits = logits.clamp(min=torch.finfo(logits.dtype).tiny).log()
        return logits if self.class_map is None else logits[:, self.class_map]


@torch.no_grad()
def outputs_breach(model: nn.Module, images: Tensor) -> str | None:
    """Return how a network that is to return probabilities does not, on images (N, C, H, W); None if it does."""
    if not isinstance(model, Adapted) or not model.probabilities:
        return None
    outputs = model.network(images)
    if (outputs >= 0).all() and ((outputs.double().sum(1) - 1).abs() < ROUNDING).all():
        return None
    what = "negative values" if (outputs < 0).any() else "rows that do not sum to 1"
    return f"outputs: probabilities, but the network returns {what}; leave out outputs if these are logits"


def build_network(recipe: Recipe, *, published: bool = True) -> nn.Module:
    """Build the network of a recipe, before it is trained or given its weights.

    Parameters
    ----------
    published
        Whether published weights that the recipe names, torchvision's or a hub's, are loaded; false if others are
        loaded next, for which neither the network nor a hub is needed.

    Raises
    ------
    ValueError
        The architecture or a parameter is unknown, or `class_map` does not fit the network.
    """
    if recipe.members is not None:
        return Ensemble([build_network(member, published=published) for member in recipe.member_recipes()])
    network = _network(recipe, _classes(recipe), published)
    if recipe.normalise is not None:
        network = Normalised(network, recipe.normalise["mean"], recipe.normalise["std"])
    if recipe.outputs == "logits" and recipe.class_map is None:
        return network
    return Adapted(network, probabilities=recipe.outputs == "probabilities", class_map=recipe.class_map)


def _classes(recipe: Recipe) -> int:
    """Return the number of logits of a recipe's network, before `class_map` picks some."""
    if recipe.class_map is None:
        return recipe.num_classes
    known = recipe.network_classes
    if known is None:
        known = classes_of(recipe.arch, recipe.parameters) if recipe.hub is None else recipe.hub["classes"]
    if known is None:
        raise ValueError(f"class_map: give network_classes, the number of classes of {recipe.arch}, such as 1000")
    if max(recipe.class_map) >= known:
        raise ValueError(f"class_map: names the class {max(recipe.class_map)} of a network with {known} classes")
    return known


def _network(recipe: Recipe, classes: int, published: bool) -> nn.Module:
    """Build the network itself."""
    if recipe.hub is not None:
        return hubs.build(
            recipe.arch,
            recipe.parameters,
            classes=classes,
            facts=recipe.hub,
            published=published and "weights" in recipe.hub,
            new_head=recipe.training is not None,
        )
    parameters = recipe.parameters if published else initial_parameters(recipe.arch, recipe.parameters)
    return build(recipe.arch, num_classes=classes, **parameters)
