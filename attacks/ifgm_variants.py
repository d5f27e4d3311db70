"""Variants of I-FGM whose examples transfer better.

- MI: Boosting Adversarial Attacks with Momentum (Dong, Liao, Pang, Su, Zhu, Hu, Li; CVPR 2018; arXiv 1710.06081).
- DI: Improving Transferability of Adversarial Examples with Input Diversity (Xie, Zhang, Zhou, Bai, Wang, Ren, Yuille;
  CVPR 2019; arXiv 1803.06978).
- TI: Evading Defenses to Transferable Adversarial Examples by Translation-Invariant Attacks (Dong, Pang, Su, Zhu; CVPR
  2019; arXiv 1904.02884).

Shapes: B rows of a batch, C × H × W values of an image.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from eadbench.attacks import distances
from eadbench.attacks.distances import unit
from eadbench.attacks.engine.draws import generator, seeds_of
from eadbench.attacks.engine.epsilon_search import Direction
from eadbench.attacks.fgm import downhill, unit_step
from eadbench.attacks.ifgm import IFGM, project

LEAST_SIDE = 299 / 330
"""The least side of an image that is made smaller, over its own: Xie et al. fill 330 pixels with 299 to 329."""


@dataclass(frozen=True, kw_only=True)
class MIFGM(IFGM):
    """I-FGM whose steps follow μ·g + ∇J/‖∇J‖₁, the momentum of all gradients so far.

    Parameters
    ----------
    norm, steps, epsilons, targeted
        Those of :class:`IFGM`; a step is ε/`steps` long.
    momentum : float
        μ ≥ 0, the decay of the sum of gradients.
    diversity : float
        p in [0, 1], the probability with which a gradient is taken at a smaller copy of the image, at a random place
        in a black frame of the image's size.
    kernel : int
        Pixels on each side of the Gaussian that every gradient is smoothed with, odd; 1 leaves it as it is.
    seed : int
        Seed of the copies' sizes and places.
    """

    LABEL: ClassVar[str] = "MI-FGM"
    AXES: ClassVar[tuple[str, ...]] = ("norm", "momentum", "diversity", "kernel")

    momentum: float = 1.0
    diversity: float = 0.0
    kernel: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.momentum < torch.inf:
            raise ValueError(f"momentum must be finite and not negative, got {self.momentum}")
        if not 0 <= self.diversity <= 1:
            raise ValueError(f"diversity must be in [0, 1], got {self.diversity}")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd and at least 1, got {self.kernel}")

    def direction(
        self, model: nn.Module, x: Tensor, labels: Tensor, *, origin: Tensor | None = None, taken: int = 0
    ) -> tuple[Tensor, Tensor]:
        """W * ∇J(T(x)) of L1 norm one, towards success; T is drawn by the image `origin` and the steps `taken`."""
        through = None
        if self.diversity:
            side, place = self.draw(x if origin is None else origin, labels, taken)
            through = partial(smaller, side=side, place=place)
        gradient, nonfinite = downhill(model, x, labels, through=through)
        gradient = unit(smoothed(gradient, self.kernel), distances.l1)
        return gradient if self.targeted else -gradient, nonfinite

    def craft(
        self, direction: Direction, origin: Tensor, labels: Tensor, first_direction: Tensor, epsilon: Tensor
    ) -> Tensor:
        """Take `steps` steps of size ε/`steps` along the momentum g."""
        x, g = origin, first_direction
        for taken in range(self.steps):
            if taken:
                g = self.momentum * g + direction(x, labels, origin=origin, taken=taken)
            x = x + epsilon / self.steps * unit_step(g, self.norm)
            x = (origin + project(x - origin, epsilon, self.norm)).clamp(0, 1)
        return x

    def draw(self, origin: Tensor, labels: Tensor, taken: int) -> tuple[Tensor, Tensor]:
        """(B,) the side of each row's copy over the image's, and (B, 2) its place between the frame's edges, in [0, 1].

        The side is uniform over whole pixels; 1 is the image itself.
        """
        height = origin.shape[2]
        sides = range(min(round(LEAST_SIDE * height), height - 1), height)
        draws = [torch.rand(4, generator=generator(seed, taken)) for seed in seeds_of(origin, labels, self.seed)]
        is_copied, size, *place = torch.stack(draws).unbind(1)
        side = (sides.start + (len(sides) * size).floor()) / height
        return torch.where(is_copied < self.diversity, side, 1.0).to(origin), torch.stack(place, 1).to(origin)


@dataclass(frozen=True, kw_only=True)
class DIFGM(MIFGM):
    """I-FGM whose gradients are taken at copies of random size and place; `momentum: 1` is the paper's M-DI²-FGSM.

    Parameters
    ----------
    norm, steps, epsilons, targeted, momentum, diversity, kernel, seed
        Those of :class:`MIFGM`.
    """

    LABEL: ClassVar[str] = "DI-FGM"
    TOLERANCE: ClassVar[float | Mapping[str, float]] = {"l1": 2.6, "l2": 0.25, "linf": 1.0}  # a copy is not the image
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {
        "steps": 10,
        "epsilons": tuple(0.002 * 1.12**i for i in range(80)),
        "diversity": 0.3,
    }

    momentum: float = 0.0
    diversity: float = 0.5


@dataclass(frozen=True, kw_only=True)
class TIFGM(MIFGM):
    """I-FGM whose gradients are smoothed, as if the image were attacked at every place around its own.

    Parameters
    ----------
    norm, steps, epsilons, targeted, momentum, diversity, kernel, seed
        Those of :class:`MIFGM`. The paper's kernel of 15 is for images of 299 pixels.
    """

    LABEL: ClassVar[str] = "TI-FGM"
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {**IFGM.CHECKED_WITH, "kernel": 3}

    momentum: float = 0.0
    kernel: int = 15


def smaller(x: Tensor, side: Tensor, place: Tensor) -> Tensor:
    """Copy each image (B, C, H, W), `side` (B,) times its size, by nearest pixels, to a `place` (B, 2) in black."""
    (down, in_height), (across, in_width) = (_source(x, axis, side, place[:, axis - 2]) for axis in (2, 3))
    image, channel = (torch.arange(count, device=x.device) for count in x.shape[:2])
    copied: Tensor = x[
        image[:, None, None, None], channel[:, None, None], down[:, None, :, None], across[:, None, None]
    ]
    return copied * (in_height[:, None, :, None] & in_width[:, None, None])


def _source(x: Tensor, axis: int, side: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """(B, L) the pixel of each row or column of the frame, and whether the copy covers it."""
    length = x.shape[axis]
    size = (side * length).round()[:, None]
    first = (place[:, None] * (length - size + 1)).floor().clamp(max=length - size)
    offset = torch.arange(length, device=x.device) - first
    return (offset * length / size).floor().long().clamp(0, length - 1), (offset >= 0) & (offset < size)


def smoothed(gradient: Tensor, kernel: int) -> Tensor:
    """Convolve every channel (B, C, H, W) with a Gaussian of `kernel` pixels a side, 3σ in radius; 0 is outside."""
    if kernel == 1:
        return gradient
    radius = kernel // 2
    bell = torch.exp(-(torch.arange(-radius, radius + 1).to(gradient) * 3 / radius).square() / 2)
    window = torch.outer(bell, bell) / bell.sum().square()
    channels = gradient.shape[1]
    return functional.conv2d(gradient, window.expand(channels, 1, -1, -1), padding=radius, groups=channels)
