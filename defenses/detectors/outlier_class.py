"""A class of its own for adversarial images (Grosse, Manoharan, Papernot, Backes, McDaniel; arXiv 1702.06280, 2017).

Shapes: X training images, N images to judge, K classes of the victim.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from eadbench.defenses.detectors.crafted import adversarial
from eadbench.defenses.detectors.detector import Detector, Fitted

__all__ = ["OutlierClass"]

BATCH = 128
"""Images of a step of Adam."""


@dataclass(frozen=True, kw_only=True)
class OutlierClass(Detector):
    """Reject an image that a second network puts into class K + 1, which it has learnt for adversarial images.

    The second network is the victim with one more output. It starts from the victim's weights, and learns clean
    training images by their labels and adversarial ones (I-FGM in L2) as class K + 1, by Adam, without dropout. Grosse
    et al. train theirs from random weights, on the attacks of their study.

    Parameters
    ----------
    epochs : int
        Passes over the clean and adversarial images.
    learning_rate : float
        Adam's learning rate.
    images, false_positives, seed
        Training images that it learns from; see :class:`Detector`.
    """

    LABEL: ClassVar[str] = "outlier class"

    epochs: int = 20
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {self.epochs}")
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate must be above 0 and finite, got {self.learning_rate}")

    @property
    def differentiable(self) -> bool:
        """True: the score is made of logits."""
        return True

    def score(self, model: nn.Module, images: Tensor, learnt: Fitted) -> Tensor:
        """(N,) the lead of the logit of class K + 1 over the greatest other."""
        logits: Tensor = functional_call(model, _by_names(model, learnt), (images,))
        return logits[:, -1] - logits[:, :-1].amax(1)

    def learn(self, model: nn.Module, images: Tensor, labels: Tensor) -> Fitted:
        """Train the second network.

        Raises
        ------
        ValueError
            The last linear layer of the victim does not return its logits.
        """
        _, attacked = adversarial(model, images, labels)
        weights = _with_one_more_output(model, images[:1])
        images = torch.cat([images, attacked])
        labels = torch.cat([labels, torch.full_like(labels[:1], int(model(images[:1]).shape[1])).expand(len(attacked))])
        with torch.inference_mode(False), torch.enable_grad():
            trained = {name: weight.clone().requires_grad_() for name, weight in weights.items()}
            adam = torch.optim.Adam(trained.values(), lr=self.learning_rate)
            generator = torch.Generator().manual_seed(self.seed)
            for _ in range(self.epochs):
                for batch in torch.split(torch.randperm(len(images), generator=generator).to(labels), BATCH):
                    adam.zero_grad()
                    logits = functional_call(model, _by_names(model, trained), (images[batch],))
                    functional.cross_entropy(logits, labels[batch]).backward()  # type: ignore[no-untyped-call]
                    adam.step()
        return {name: weight.detach() for name, weight in trained.items()}


def _with_one_more_output(model: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """Return the weights of a model, by their numbers, with a last row of zeros in its last linear layer."""
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    classes = model(image).shape[1]
    widened = (layers[-1].weight, layers[-1].bias) if layers and layers[-1].out_features == classes else ()
    weights = {
        str(number): torch.cat([weight, torch.zeros_like(weight[:1])])
        if any(weight is each for each in widened)
        else weight.detach()
        for number, weight in enumerate(model.parameters())
    }
    if not widened or functional_call(model, _by_names(model, weights), (image,)).shape[1] != classes + 1:
        raise ValueError("the victim's logits are not those of its last linear layer, so it takes no further class")
    return weights


def _by_names(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights by the names of the model's parameters, which a wrapper of the victim changes."""
    return {name: weights[str(number)] for number, (name, _) in enumerate(model.named_parameters())}
