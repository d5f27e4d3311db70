"""What a detector is: a test that accepts or rejects an input of a victim.

Shapes: X training images, N images to judge, C × H × W values of an image.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from eadbench.attacks.engine.declaration import MISSING, dataclass_breaches, member
from eadbench.attacks.engine.frozen import frozen

__all__ = ["Detector", "Fitted", "breaches", "scores_of"]

Fitted = Mapping[str, Tensor]
"""What a detector has learnt of a victim, by name, with its `threshold`."""


@dataclass(frozen=True, kw_only=True)
class Detector(ABC):
    """A frozen keyword-only dataclass of parameters that gives every image a score; a great one is rejected.

    Inherit from this class and write :meth:`score` and, if something is learnt, :meth:`learn`; a spec names either by
    its import path. :meth:`fit` sets the threshold.

    Parameters
    ----------
    images : int
        Training images that it is fitted on, drawn at random. If it learns, the first half of them is learnt from, and
        the other half sets the threshold.
    false_positives : float
        Share of clean images that are rejected: the threshold is this quantile of the scores of training images.
    seed : int
        Seed of the choice of training images, and of all that is drawn while it is fitted.
    """

    LABEL: ClassVar[str]
    SET_SIZE: ClassVar[tuple[int, int] | None] = None
    """Of a detector that judges sets: the least and the most images of a set. All of them get the set's score."""
    LEARNS: ClassVar[bool] = True
    """Whether it learns anything from training images, beside its threshold."""

    images: int = 4000
    false_positives: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if self.images < 20:
            raise ValueError(f"images must be at least 20, got {self.images}")
        if not 0 < self.false_positives < 1:
            raise ValueError(f"false_positives must be between 0 and 1, got {self.false_positives}")

    @property
    def differentiable(self) -> bool:
        """Whether :meth:`score` has a gradient that an adaptive attack can follow."""
        return False

    def passes(self, channels: int) -> int:
        """Forward passes of the victim on an image of a number of channels that is scored."""
        return 1

    @abstractmethod
    def score(self, model: nn.Module, images: Tensor, learnt: Fitted) -> Tensor:
        """(N,) the scores of images (N, C, H, W) in [0, 1]. A greater score means that an image looks adversarial."""

    def learn(self, model: nn.Module, images: Tensor, labels: Tensor) -> Fitted:
        """Learn from training images (X, C, H, W) with their labels (X,); the model is in eval mode.

        Raises
        ------
        ValueError
            The detector cannot be fitted to this model.
        """
        return {}

    def fit(self, model: nn.Module, images: Tensor, labels: Tensor) -> Fitted:
        """Learn from training images (X, C, H, W) in random order, and set the threshold.

        Raises
        ------
        ValueError
            The detector cannot be fitted, or its scores are not a finite number for each image.
        """
        half = len(images) // 2 if self.LEARNS else 0
        with frozen(model), torch.no_grad():
            learnt = self.learn(model, images[:half], labels[:half])
        scores = scores_of(self, model, images[half:], learnt)
        numbers = scores.nan_to_num(torch.inf, torch.inf, -torch.inf)  # what is no number is rejected
        threshold = numbers.quantile(1 - self.false_positives, interpolation="higher")
        if not threshold.isfinite():
            count = int((~scores.isfinite()).sum())
            raise ValueError(f"{count} of the {len(scores)} training images have no finite score, so no threshold fits")
        return {**learnt, "threshold": threshold.reshape(1)}


def scores_of(detector: Detector, model: nn.Module, images: Tensor, fitted: Fitted, batch_size: int = 256) -> Tensor:
    """(N,) float64 scores of images (N, C, H, W); of a detector that judges sets, the images are one set.

    Raises
    ------
    ValueError
        The detector does not return a score for each image.
    """
    scores = []
    with frozen(model), torch.no_grad():
        for part in (images,) if detector.SET_SIZE else torch.split(images, batch_size):
            if len(part):
                score = detector.score(model, part, fitted)
                if not isinstance(score, Tensor) or score.shape != (len(part),):
                    given = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__
                    raise ValueError(f"score must return a tensor of shape ({len(part)},), got {given}")
                scores.append(score.double())
    return torch.cat(scores) if scores else images.new_empty(0, dtype=torch.float64)


def breaches(detector: object) -> list[str]:
    """List how a class breaks the protocol, one line each, without running it."""
    problems = dataclass_breaches(detector)
    if not isinstance(detector, type) or problems:
        return problems
    if not issubclass(detector, Detector):
        return ["must inherit from eadbench.defenses.detectors.Detector"]
    if not isinstance(getattr(detector, "LABEL", ""), str):
        problems.append(f"must declare LABEL as text, got {detector.LABEL!r}")
    if member(detector, "score") in (MISSING, vars(Detector)["score"]) or inspect.isabstract(detector):
        problems.append("must have a method score(model, images, learnt)")
    return problems
