"""Kernel density and dropout variance (Feinman, Curtin, Shintre, Gardner 2017; arXiv 1703.00410).

Shapes: X training images, N images to judge, D units of the last hidden layer, K classes.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from eadbench.defenses.detectors.crafted import adversarial, noisy
from eadbench.defenses.detectors.detector import Detector, Fitted
from eadbench.defenses.detectors.hidden import dropped_out, last_hidden

__all__ = ["KernelDensity"]

HELD_OUT = 0.2
"""Share of the images learnt from that chooses the bandwidth, and that the regression learns from."""


@dataclass(frozen=True, kw_only=True)
class KernelDensity(Detector):
    """Reject an image in a region of low density among the training images of its predicted class.

    The density is a Gaussian kernel's on the last hidden layer, one for each class. With dropout passes, a logistic
    regression joins its logarithm with the variance of the probabilities under dropout. The regression tells
    adversarial images (I-FGM in L2) from clean ones and from noisy ones at the same L2 distance.

    Parameters
    ----------
    bandwidth : float, optional
        Standard deviation of the kernel, as scikit-learn has it (published: 1.20 for MNIST, 0.26 for CIFAR-10); by
        default the one of the greatest likelihood of held-out training images.
    dropout : int
        Passes with dropout; 50 as published, or 0 for the density alone.
    images, false_positives, seed
        Training images that it learns from; see :class:`Detector`.
    """

    LABEL: ClassVar[str] = "kernel density"

    bandwidth: float | None = None
    dropout: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bandwidth is not None and not 0 < self.bandwidth < math.inf:
            raise ValueError(f"bandwidth must be above 0 and finite, got {self.bandwidth}")
        if self.dropout < 0 or self.dropout == 1:
            raise ValueError(f"dropout must be 0, or at least 2, got {self.dropout}")

    @property
    def differentiable(self) -> bool:
        """True for the density alone."""
        return not self.dropout

    def passes(self, channels: int) -> int:
        """One, and those with dropout."""
        return 1 + self.dropout

    def score(self, model: nn.Module, images: Tensor, learnt: Fitted) -> Tensor:
        """Return -log of the density of the predicted class, or the log-odds of the regression."""
        hidden, logits = last_hidden(model, images)
        density = log_density(hidden, logits.argmax(1), learnt["hidden"], learnt["classes"], learnt["bandwidth"])
        if not self.dropout:
            return -density
        traits = torch.stack([density, self.uncertainty(model, images).double()], 1)
        return ((traits - learnt["centre"]) / learnt["scale"]) @ learnt["weights"] + learnt["intercept"]

    def uncertainty(self, model: nn.Module, images: Tensor) -> Tensor:
        """(N,) the variance of the probabilities under dropout: 1/T Σ ŷᵢ·ŷᵢ - ȳ·ȳ."""
        with dropped_out(model):
            passes = torch.stack([model(images).softmax(1) for _ in range(self.dropout)])
        return passes.square().sum(2).mean(0) - passes.mean(0).square().sum(1)

    def learn(self, model: nn.Module, images: Tensor, labels: Tensor) -> Fitted:
        """Keep the hidden activations of training images, and choose the bandwidth on others."""
        count = round(HELD_OUT * len(images))
        hidden = torch.cat([last_hidden(model, part)[0] for part in torch.split(images, 256)])
        kept, classes = hidden[count:].contiguous(), labels[count:].contiguous()
        bandwidth = self.bandwidth or likeliest(hidden[:count], labels[:count], kept, classes)
        learnt = {"hidden": kept, "classes": classes, "bandwidth": torch.tensor([bandwidth], dtype=torch.float64)}
        learnt = {name: values.to(images.device) for name, values in learnt.items()}
        return {**learnt, **self._regression(model, images[:count], labels[:count], learnt)} if self.dropout else learnt

    def _regression(self, model: nn.Module, images: Tensor, labels: Tensor, learnt: Fitted) -> Fitted:
        """Fit the logistic regression on the log-density and the variance, both standardised."""
        from sklearn.linear_model import LogisticRegression

        originals, attacked = adversarial(model, images, labels)
        noise = noisy(originals, attacked, torch.Generator().manual_seed(self.seed))
        traits = []
        for part in (attacked, originals, noise):
            hidden, logits = last_hidden(model, part)
            density = log_density(hidden, logits.argmax(1), learnt["hidden"], learnt["classes"], learnt["bandwidth"])
            traits.append(torch.stack([density, self.uncertainty(model, part).double()], 1))
        every = torch.cat(traits)
        centre, scale = every.mean(0), every.std(0).clamp(min=1e-12)
        is_adversarial = [1] * len(attacked) + [0] * 2 * len(originals)
        regression: Any = LogisticRegression(class_weight="balanced")
        regression.fit(((every - centre) / scale).cpu().numpy(), is_adversarial)
        weights = torch.from_numpy(regression.coef_[0]).to(every)
        return {
            "centre": centre,
            "scale": scale,
            "weights": weights,
            "intercept": torch.from_numpy(regression.intercept_).to(every),
        }


def log_density(points: Tensor, classes: Tensor, data: Tensor, data_classes: Tensor, bandwidth: Tensor) -> Tensor:
    """(N,) the log-density of points (N, D) among the data (X, D) of their class, in float64.

    The mean over the data of exp(-‖p - d‖² / 2h²) / (2πh²)^(D/2); -inf for a class without data.
    """
    points, data, h = points.double(), data.double(), bandwidth.double()
    square = (points.square().sum(1, keepdim=True) + data.square().sum(1) - 2 * points @ data.T).clamp(min=0)
    own = classes[:, None] == data_classes
    kernels = (-square / (2 * h**2)).masked_fill(~own, -torch.inf)
    normaliser = own.sum(1).log() + points.shape[1] / 2 * (2 * math.pi * h**2).log()
    return kernels.logsumexp(1) - normaliser


def likeliest(points: Tensor, classes: Tensor, data: Tensor, data_classes: Tensor) -> float:
    """The bandwidth that gives held-out points (N, D) the greatest likelihood, of 41 around the data's deviation."""
    present = torch.isin(classes, data_classes)
    if not present.any():
        raise ValueError("kernel_density needs more training images: held-out ones are of no class that is learnt")
    deviation = data.double().var(0).mean().sqrt().item() or 1.0
    candidates = [deviation * 10 ** (exponent / 20) for exponent in range(-30, 11)]
    points, classes = points[present], classes[present]
    likelihoods = [
        log_density(points, classes, data, data_classes, points.new_tensor([h], dtype=torch.float64)).mean().item()
        for h in candidates
    ]
    return candidates[max(range(len(candidates)), key=likelihoods.__getitem__)]
