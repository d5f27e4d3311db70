"""SafetyNet (Lu, Issaranon, Forsyth; ICCV 2017; arXiv 1704.00103).

Shapes: X training images, N images to judge, D units, V support vectors.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from eadbench.defenses.detectors.crafted import adversarial
from eadbench.defenses.detectors.detector import Detector, Fitted
from eadbench.defenses.detectors.hidden import relu_outputs

__all__ = ["SafetyNet", "codes"]


@dataclass(frozen=True, kw_only=True)
class SafetyNet(Detector):
    """Reject an image by an RBF-SVM on the codes of late ReLUs: their outputs, quantised to a few levels.

    The SVM learns clean training images and adversarial ones (I-FGM in L2). Level 0 is an output of 0; the others have
    equal shares of a layer's positive outputs on clean images. Codes have no gradient.

    Parameters
    ----------
    layers : int
        How many of the last ReLUs, modules `torch.nn.ReLU`.
    levels : int
        Levels of a code; 4 as for the paper's CIFAR-10 network.
    penalty : float
        C of the SVM; γ is 1 over the number of units times the variance of the codes.
    images, false_positives, seed
        Training images that it learns from; see :class:`Detector`.
    """

    LABEL: ClassVar[str] = "SafetyNet"

    layers: int = 1
    levels: int = 4
    penalty: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers < 1:
            raise ValueError(f"layers must be at least 1, got {self.layers}")
        if not 2 <= self.levels <= 256:
            raise ValueError(f"levels must be 2 to 256, got {self.levels}")
        if not 0 < self.penalty < float("inf"):
            raise ValueError(f"penalty must be above 0 and finite, got {self.penalty}")

    def score(self, model: nn.Module, images: Tensor, learnt: Fitted) -> Tensor:
        """(N,) the SVM's decision: Σᵢ αᵢ exp(-γ‖code - vᵢ‖²) + b."""
        code = self.codes(model, images, learnt["thresholds"])
        kernel = (-learnt["gamma"] * torch.cdist(code, learnt["vectors"]).square()).exp()
        return kernel @ learnt["coefficients"] + learnt["intercept"]

    def codes(self, model: nn.Module, images: Tensor, thresholds: Tensor) -> Tensor:
        """(N, D) the codes of all layers, in [0, 1]."""
        outputs = relu_outputs(model, images, self.layers)
        return torch.cat([codes(each, own) for each, own in zip(outputs, thresholds, strict=True)], 1)

    def learn(self, model: nn.Module, images: Tensor, labels: Tensor) -> Fitted:
        """Set the levels, and fit the SVM."""
        from sklearn.svm import SVC

        originals, attacked = adversarial(model, images, labels)
        shares = torch.arange(1, self.levels - 1, device=images.device) / (self.levels - 1)
        thresholds = torch.stack([_thresholds(each, shares) for each in relu_outputs(model, images, self.layers)])
        code = torch.cat([self.codes(model, part, thresholds) for part in (attacked, originals)])
        gamma = 1 / (code.shape[1] * code.var(correction=0).clamp(min=1e-12)).item()
        svm: Any = SVC(kernel="rbf", C=self.penalty, gamma=gamma)
        svm.fit(code.cpu().numpy(), [1] * len(attacked) + [0] * len(originals))
        return {
            "thresholds": thresholds,
            "vectors": torch.from_numpy(svm.support_vectors_).to(code),
            "coefficients": torch.from_numpy(svm.dual_coef_[0].copy()).to(code),
            "intercept": torch.from_numpy(svm.intercept_.copy()).to(code),
            "gamma": code.new_tensor([gamma]),
        }


def codes(outputs: Tensor, thresholds: Tensor) -> Tensor:
    """(N, D) float64 in [0, 1]: how many of the thresholds (L - 1,) each output (N, D) is above, over L - 1."""
    above = (outputs[..., None] > thresholds).sum(-1)
    return above.double() / len(thresholds)


def _thresholds(outputs: Tensor, shares: Tensor) -> Tensor:
    """0, and the quantiles of the positive outputs of a layer."""
    positive = outputs[outputs > 0]
    positive = positive[:: max(1, len(positive) // 2**20)]  # torch sorts no more than 16 million
    inner = positive.quantile(shares) if len(positive) else outputs.new_zeros(len(shares))
    return torch.cat([outputs.new_zeros(1), inner])
