"""No defence: the architecture trained on the data set as it is."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from models import Recipe, build, seeded, train

__all__ = ["train_victim"]


def train_victim(
    recipe: Recipe,
    data: Dataset[Any],
    *,
    device: str | torch.device = "cpu",
    on_batch: Callable[[int, int, float], None] | None = None,
) -> nn.Module:
    """The trained model of an undefended recipe, on `device` and in eval mode.

    Its first weights, the order of the images and dropout follow from `recipe.training.seed`. A recipe with
    torchvision's published weights and no training gives these weights.

    Parameters
    ----------
    data
        The training split: pairs of an image (C, H, W) in [0, 1] and an int label.
    on_batch
        As in `models.train`.

    Raises
    ------
    ValueError
        A recipe whose weights are a file of the user's.
    """
    if recipe.weights is not None:
        raise ValueError(f"recipe {recipe.digest} has given weights: there is nothing to train")
    seed = 0 if recipe.training is None else recipe.training.seed
    with seeded(seed):
        model = build(recipe.arch, num_classes=recipe.num_classes, **recipe.parameters)
    if recipe.training is not None:
        train(model, data, recipe.training, device=device, on_batch=on_batch)
    return model.to(device).eval()
