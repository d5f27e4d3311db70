"""Check the victims of a spec before workers start: each is built, given its weights, and probed on real images.

Attacks fool no network that is broken, so a broken network would look robust. What is wrong is one line now, not a
failed shard in an hour.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from eadbench import attacks, models
from eadbench.harness.datasets import DataSet, Split
from eadbench.harness.errors import UserError
from eadbench.harness.messages import listed, one_line
from eadbench.harness.plan.recipes import Planned
from eadbench.harness.results.folder import Results
from eadbench.harness.results.model_files import check_recipe
from eadbench.harness.storage import located

__all__ = ["check_victims", "class_suspicions", "probed", "sample"]

PROBED = 8
"""Images that a victim is probed on."""


def check_victims(planned: Sequence[Planned], data: DataSet, results: Results, split: Split) -> list[str]:
    """Check the victims that are not stored yet. Return what is suspicious about the data, and given weights.

    Raises
    ------
    UserError
        A network cannot be built, its weights do not fit, it does not map images of the data set to logits, or a
        training split is missing.
    """
    unstored = any(not models.is_stored(results.model(victim.recipe.digest)) for victim in planned)
    suspicions = class_suspicions(data) if unstored else []  # a stored victim has its own
    images = sample(split)
    networks: set[str] = set()
    for victim in planned:
        if victim.recipe.training is not None and not len(data.train):
            raise UserError(f"{victim.where}.training: the data set has no train split; give weights instead")
        if models.is_stored(folder := results.model(victim.recipe.digest)):
            check_recipe(folder / "recipe.json")
            continue
        if (network := _network(victim.recipe)) in networks:
            continue
        networks.add(network)
        name = f"{victim.where}: {victim.recipe.arch}"
        found = probed(_built(victim), images, victim.recipe, name)
        if victim.recipe.training is None:  # a network that is yet to be trained is probed again after it
            suspicions += [f"{name}: {text}" for text in found]
    return suspicions


def class_suspicions(data: DataSet) -> list[str]:
    """Return a warning about classes without an image; none if every class has one."""
    if not data.empty_classes:
        return []
    names = [data.class_names[label] for label in data.empty_classes]
    text = f"{len(names)} of {data.classes} classes have no image ({listed(names)}); no example is aimed at them"
    return [f"{text}. If they are no classes of the data, give it labels: remap"]


def _network(recipe: models.Recipe) -> str:
    """Return what identifies the network before its training: victims of several defences share it."""
    content = recipe.to_json()
    return models.canonical_json({name: content[name] for name in content if name not in ("defense", "training")})


def sample(split: Split) -> Tensor:
    """Return a few images (N, C, H, W) that are spread over a split."""
    count = min(PROBED, len(split))
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
    probe = attacks.probe(network, images.to(device), classes=recipe.num_classes)
    if probe.refusals:
        raise UserError(f"{name}: {probe.refusals[0]}")
    if breach := models.outputs_breach(network, images.to(device)):
        raise UserError(f"{name}: {breach}")
    size = models.size_suspicion(network, images.shape[1:]) if recipe.training is None else None
    return [*probe.warnings, *([] if size is None else [size])]


def _built(victim: Planned) -> nn.Module:
    """Build a victim's network, with its weights if it has any."""
    try:
        network = models.build_network(victim.recipe, published=victim.weights is None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about a bad file before it refuses it
            if victim.weights is not None:
                models.load_weights(network, Path(located(victim.weights)), strict=victim.strict)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{victim.where}: {one_line(error)}") from error
    return network.eval()
