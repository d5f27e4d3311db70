"""Build a victim's network, and probe it on a few images."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from eadbench import attacks, models
from eadbench.harness.datasets import Split
from eadbench.harness.errors import UserError
from eadbench.harness.messages import one_line
from eadbench.harness.plan.recipes import Planned
from eadbench.harness.registry import DEFENSES
from eadbench.harness.results.model_files import in_front
from eadbench.harness.storage import located

__all__ = ["MEASURED", "built", "probed", "sample", "suspicions_of"]

PROBED = 8
"""Images that a victim is probed on."""
MEASURED = 32
"""Images that its figures are measured on."""


def suspicions_of(victim: Planned, images: Tensor) -> list[str]:
    """Build and probe the network of a victim that is not stored yet, and return what is suspicious about it.

    Raises
    ------
    UserError
        The network cannot be built, its weights do not fit, or it cannot be attacked.
    """
    name = f"{victim.where}: {victim.recipe.arch}"
    network = built(victim)
    if DEFENSES.is_own(victim.recipe.defense["name"]):
        network = in_front(victim.recipe, network)
    found = probed(network, images, victim.recipe, name)
    if victim.recipe.training is not None:  # a network that is yet to be trained is probed again after it
        return []
    return [f"{name}: {text}" for text in found]


def sample(split: Split, count: int = PROBED) -> Tensor:
    """Return a few images (N, C, H, W) that are spread over a split."""
    count = min(count, len(split))
    return split.images([index * len(split) // count for index in range(count)])


def probed(network: nn.Module, images: Tensor, recipe: models.Recipe, name: str) -> Sequence[str]:
    """Probe a network on the device that it is on, and return what is suspicious about it.

    Parameters
    ----------
    images
        (N, C, H, W) in [0, 1].
    recipe
        The recipe of the network.
    name
        What the error calls the network.

    Raises
    ------
    UserError
        The network cannot be attacked.
    """
    device = next((parameter.device for parameter in network.parameters()), images.device)
    network.to(memory_format=models.memory_format(network, images.shape[1:]))
    try:
        probe = attacks.probe(network, images.to(device), classes=recipe.num_classes)
    except (Exception, SystemExit) as error:  # the network may be the user's, and raise anything
        raise UserError(f"{name}: {one_line(f'{type(error).__name__}: {error}')[:300]}") from error
    if probe.refusals:
        raise UserError(f"{name}: {probe.refusals[0]}")
    if breach := models.outputs_breach(network, images.to(device)):
        raise UserError(f"{name}: {breach}")
    size = models.size_suspicion(network, images.shape[1:]) if recipe.training is None else None
    return [*probe.warnings, *([] if size is None else [size])]


def built(victim: Planned) -> nn.Module:
    """Build a victim's network, with its weights if it has any.

    Raises
    ------
    UserError
        It cannot be built, or its weights do not fit.
    """
    try:
        network = models.build_network(victim.recipe, published=victim.weights is None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about a bad file before it refuses it
            if victim.weights is not None:
                models.load_weights(network, Path(located(victim.weights)), strict=victim.strict)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{victim.where}: {one_line(error)}") from error
    return network.eval()
