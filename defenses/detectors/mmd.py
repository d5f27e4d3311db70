"""Maximum mean discrepancy between a set of images and training images (Grosse, Manoharan, Papernot, Backes, McDaniel
2017; arXiv 1702.06280; the test is Gretton et al. 2012).

Shapes: N images of a set, M reference images.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from eadbench.defenses.detectors.detector import Detector, Fitted

__all__ = ["MMD", "squared_mmd"]

LEAST, MOST = 10, 100
"""Images in a set, as in the paper."""


@dataclass(frozen=True, kw_only=True)
class MMD(Detector):
    """Reject a set of 10 to 100 images if it differs from training images; all images of a set share a verdict.

    The statistic is the unbiased MMD² with a Gaussian kernel on pixels, whose bandwidth is the median distance of the
    reference images. The score is 1 - p, for the p-value of a permutation test. A sweep makes the sets of a cell within
    each shard, of different images; fewer than 10 have no score. The paper's second detector, a network with a class
    for outliers, is not here.

    Parameters
    ----------
    reference : int
        Training images that a set is compared with.
    permutations : int
        Permutations of the test.
    false_positives : float
        The level: a set is rejected if p is at most this.
    images, seed
        Training images that the reference is drawn from; see :class:`Detector`.
    """

    LABEL: ClassVar[str] = "MMD"
    SET_SIZE: ClassVar[tuple[int, int] | None] = (LEAST, MOST)

    reference: int = 100
    permutations: int = 999

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reference < LEAST:
            raise ValueError(f"reference must be at least {LEAST}, got {self.reference}")
        if (self.permutations + 1) * self.false_positives < 1:
            least = int(1 / self.false_positives)
            raise ValueError(
                f"permutations must be at least {least} for a level of {self.false_positives}, got {self.permutations}"
            )

    def passes(self, channels: int) -> int:
        """None: it looks at pixels."""
        return 0

    def score(self, model: nn.Module, images: Tensor, learnt: Fitted) -> Tensor:
        """1 - p of the set, for each of its images."""
        points = torch.cat([images, learnt["reference"]]).flatten(1).double()
        kernel = (-torch.cdist(points, points).square() / (2 * learnt["bandwidth"] ** 2)).exp()
        p = self.p_value(kernel, len(images))
        return kernel.new_full((len(images),), 1 - p)

    def p_value(self, kernel: Tensor, count: int) -> float:
        """The share of splits of all images, the given one among them, whose MMD² is at least the given one's.

        Parameters
        ----------
        kernel : Tensor
            (N + M, N + M) the kernel of every two images, those of the set first.
        count : int
            N.
        """
        generator = torch.Generator().manual_seed(self.seed)
        observed = squared_mmd(kernel, torch.arange(len(kernel), device=kernel.device)[None], count)
        orders = torch.rand(self.permutations, len(kernel), generator=generator).argsort(1).to(kernel.device)
        as_great = squared_mmd(kernel, orders, count) >= observed - 1e-12
        return (1 + int(as_great.sum())) / (1 + self.permutations)

    def fit(self, model: nn.Module, images: Tensor, labels: Tensor) -> Fitted:
        """Keep the reference images; the level alone sets the threshold."""
        reference = images[: self.reference].contiguous()
        if len(reference) < LEAST:
            raise ValueError(f"mmd needs at least {LEAST} training images, and there are {len(reference)}")
        distances = torch.pdist(reference.flatten(1).double())
        level = self.false_positives + 0.5 / (1 + self.permutations)  # between two p-values that there can be
        return {
            "reference": reference,
            "bandwidth": distances.median().clamp(min=1e-12).reshape(1),
            "threshold": distances.new_tensor([1 - level]),
        }


def squared_mmd(kernel: Tensor, orders: Tensor, count: int) -> Tensor:
    """(P,) the unbiased MMD² between the first `count` images of each order (P, N + M) and the others.

    Σ_{i≠j} k(xᵢ, xⱼ) / N(N - 1) + Σ_{i≠j} k(yᵢ, yⱼ) / M(M - 1) - 2 Σ k(xᵢ, yⱼ) / NM.
    """
    n, m = count, len(kernel) - count
    kernel = kernel - torch.diag(kernel.diag())
    in_set = torch.zeros(orders.shape, dtype=kernel.dtype, device=kernel.device).scatter_(1, orders[:, :n], 1.0)
    rows = in_set @ kernel
    within = (rows * in_set).sum(1)
    across = rows.sum(1) - within
    others = kernel.sum() - within - 2 * across
    return within / (n * (n - 1)) + others / (m * (m - 1)) - 2 * across / (n * m)
