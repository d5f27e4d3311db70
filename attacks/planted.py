"""Planted examples: would this attack find an adversarial example on this model, if there is one?

Zimmermann et al. 2022, "Increasing Confidence in Adversarial Robustness Evaluations" (the binarisation test). The last
layer is refitted to two classes: an image with points inside its ε-ball, against one point on the ball's surface. So an
adversarial example exists by construction, and an attack that does not find it is not to be trusted on this model.

Shape letters: N points, D features.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from eadbench.attacks import distances
from eadbench.attacks.engine.frozen import frozen

__all__ = ["Planted", "Search", "planted", "search_planted"]

INNER = 200
"""Points inside the ball that the refitted layer tells from the planted one."""
RADIUS = 0.95
"""How far out they may lie, as a share of ε."""
TRIES = 10
"""Points on the surface that are tried until one can be told from those inside."""
ROUNDING = 1.001
"""A distance may exceed ε by this factor."""


class Planted(nn.Module):
    """A model with its last layer refitted: images to two logits (N, 2).

    Attributes
    ----------
    example : Tensor
        (C, H, W) the planted example, which is of class 1.
    """

    weight: Tensor
    threshold: Tensor

    def __init__(self, model: nn.Module, weight: Tensor, threshold: Tensor, example: Tensor) -> None:
        super().__init__()
        self.model, self.example = model, example
        self.register_buffer("weight", weight)
        self.register_buffer("threshold", threshold)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, 2)."""
        lead = features(self.model, images) @ self.weight - self.threshold
        return torch.stack([-lead, lead], dim=1)


@dataclass(frozen=True, kw_only=True)
class Search:
    """What an attack, and chance, find of the planted examples of some images."""

    found: Tensor
    """(N,) bool: whether the attack found an adversarial example within ε."""
    by_chance: Tensor
    """(N,) bool: whether one of as many random points of the ball as the layer was fitted to is one."""
    left_out: int
    """Images at which the layer could tell no point on the surface from those inside."""


def search_planted(
    attack: Any, model: nn.Module, images: Tensor, *, norm: str, epsilon: float, seed: int = 0
) -> Search:
    """Plant an adversarial example beside each image, and search for it.

    Parameters
    ----------
    attack
        The attack; it is run targeted at class 1, or untargeted from class 0, as its `targeted` says.
    model
        Images to logits, whose last layer is an ``nn.Linear``.
    images : Tensor
        (N, C, H, W) in [0, 1], on the model's device.
    norm, epsilon
        The ball: "l1", "l2" or "linf", and its radius.

    Raises
    ------
    ValueError
        The model has no linear layer.
    """
    generator = torch.Generator().manual_seed(seed)
    found, chance, left_out = [], [], 0
    with frozen(model):
        for image in images:
            binary = planted(model, image, norm=norm, epsilon=epsilon, generator=generator)
            if binary is None:
                left_out += 1
                continue
            label = torch.tensor([1 if attack.targeted else 0], device=images.device)
            result = attack(binary, image[None], label)
            within = [
                kept.success & (distances.NORMS[norm](kept.images - image) <= ROUNDING * epsilon)
                for kept in result.values()
            ]
            found.append(torch.stack(within).any())
            points = _inside(image, INNER, norm, epsilon, generator)
            with torch.no_grad():
                chance.append((binary(points).argmax(1) == 1).any())
    none = torch.zeros(0, dtype=torch.bool)
    return Search(
        found=torch.stack(found).cpu() if found else none,
        by_chance=torch.stack(chance).cpu() if chance else none,
        left_out=left_out,
    )


@torch.no_grad()
def planted(
    model: nn.Module, image: Tensor, *, norm: str, epsilon: float, generator: torch.Generator
) -> Planted | None:
    """Refit the last layer of a model in eval mode so that a point on the surface of an image's ball is adversarial.

    The layer is Fisher's discriminant of the features: of class 0 are the image (C, H, W) and points inside the ball.
    Its threshold lies halfway between the last of them and the planted point, whose lead is then 1.

    Returns
    -------
    Planted or None
        None if no point on the surface can be told from those inside.
    """
    inside = torch.cat([image[None], _inside(image, INNER, norm, RADIUS * epsilon, generator)])
    known = features(model, inside)
    centred = (known - known.mean(0)).double()
    scatter = centred.T @ centred / len(known)
    ridge = 1e-3 * scatter.diagonal().mean() + 1e-12
    scatter += ridge * torch.eye(len(scatter), dtype=scatter.dtype, device=scatter.device)
    for _ in range(TRIES):
        point = _surface(image, norm, epsilon, generator)
        feature = features(model, point[None])[0]
        weight = torch.linalg.solve(scatter, (feature - known.mean(0)).double())
        heights, height = known.double() @ weight, feature.double() @ weight
        gap = height - heights.max()
        if gap > 0:
            weight, threshold = 2 * weight / gap, (height + heights.max()) / gap
            return Planted(model, weight.to(known.dtype), threshold.to(known.dtype), point)
    return None


def features(model: nn.Module, images: Tensor) -> Tensor:
    """Return what enters the last linear layer of a model (N, D).

    Raises
    ------
    ValueError
        There is none.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise ValueError("the model has no torch.nn.Linear as its last layer")
    entered: list[Tensor] = []
    handle = layers[-1].register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0]))
    try:
        model(images)
    finally:
        handle.remove()
    return entered[-1].flatten(1)


def _inside(image: Tensor, count: int, norm: str, epsilon: float, generator: torch.Generator) -> Tensor:
    """Return points (N, C, H, W) of a ball and the box: directions as of :func:`_surface`, at uniform radii."""
    radii = torch.rand(count, 1, 1, 1, generator=generator)
    steps = torch.stack([_direction(image, norm, generator) for _ in range(count)])
    return (image + (epsilon * radii).to(image) * steps).clamp(0, 1)


def _surface(image: Tensor, norm: str, epsilon: float, generator: torch.Generator) -> Tensor:
    """Return a point (C, H, W) at a distance of ε, or less where the box cuts it off."""
    return (image + epsilon * _direction(image, norm, generator)).clamp(0, 1)


def _direction(image: Tensor, norm: str, generator: torch.Generator) -> Tensor:
    """Return a random direction (C, H, W) of norm one that leads into the box: signs in L∞, else normal values."""
    values = torch.randn(image.shape, generator=generator).to(image)
    values = torch.where(image <= 0, values.abs(), torch.where(image >= 1, -values.abs(), values))
    values = values.sign() if norm == "linf" else values
    return values / distances.NORMS[norm](values[None])
