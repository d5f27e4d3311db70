"""A network fitted to a data set: its probabilities made logits, its classes picked.

Shape letters: N images, K classes of the data set, L logits of the network.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eadbench.models.recipe import Recipe
from eadbench.models.registry import build, classes_of, initial_parameters

__all__ = ["Adapted", "build_network"]


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


def build_network(recipe: Recipe, *, published: bool = True) -> nn.Module:
    """Build the network of a recipe, before it is trained or given its weights.

    Parameters
    ----------
    published
        Whether the architecture loads the weights that it names, such as torchvision's; not if others are loaded next.

    Raises
    ------
    ValueError
        The architecture or a parameter is unknown, or `class_map` does not fit the network.
    """
    parameters = recipe.parameters if published else initial_parameters(recipe.arch, recipe.parameters)
    classes = recipe.num_classes
    if recipe.class_map is not None:
        known = recipe.network_classes or classes_of(recipe.arch, recipe.parameters)
        if known is None:
            raise ValueError(f"class_map: give network_classes, the number of classes of {recipe.arch}, such as 1000")
        if max(recipe.class_map) >= known:
            raise ValueError(f"class_map: names the class {max(recipe.class_map)} of a network with {known} classes")
        classes = known
    network = build(recipe.arch, num_classes=classes, **parameters)
    if recipe.outputs == "logits" and recipe.class_map is None:
        return network
    return Adapted(network, probabilities=recipe.outputs == "probabilities", class_map=recipe.class_map)
