"""Evasion attacks of the Adversarial Robustness Toolbox: ``art:ElasticNet``."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from eadbench.attacks.adapters.peer import MARGINS, Peer, all_norms, norm_in, peer_class, takes


class ArtPeer(Peer):
    """A class of ART, called as ``Attack(classifier, …).generate(x, y)``."""

    LIBRARY: ClassVar[str] = "art"

    def run(self, victim: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Call the library; return its images."""
        from art.estimators.classification import PyTorchClassifier

        classifier = PyTorchClassifier(
            model=victim,
            loss=nn.CrossEntropyLoss(),
            input_shape=tuple(images.shape[1:]),
            nb_classes=self.classes(victim, images),
            clip_values=(0.0, 1.0),
            device_type="gpu" if images.is_cuda else "cpu",
        )
        given: dict[str, Any] = {name: self.kappa for name in MARGINS if takes(self.MAKER, name)}
        given |= {"targeted": self.targeted} if takes(self.MAKER, "targeted") else {}
        given |= {"verbose": False} if takes(self.MAKER, "verbose") else {}
        given |= {"batch_size": len(images)} if takes(self.MAKER, "batch_size") else {}
        attack = self.MAKER(classifier, **self.options, **given)
        return torch.as_tensor(attack.generate(images.cpu().numpy(), labels.cpu().numpy()))

    @staticmethod
    def classes(victim: Any, images: Tensor) -> int:
        """Return K, by a pass that is on no budget."""
        with torch.no_grad():
            return int(victim.call.victim(images[:1]).shape[1])


def adapted(name: str) -> type[Peer]:
    """Return the attack called `name` as a class of ours."""
    from art.attacks import evasion

    maker: Any = getattr(evasion, name, None)
    if not isinstance(maker, type):
        raise ValueError(f"art.attacks.evasion has no attack {name!r}")
    norm = norm_in(name)
    return peer_class(
        ArtPeer,
        name,
        maker,
        leave_out=("classifier", "estimator", "verbose", "batch_size", "summary_writer"),
        norms=(norm,) if norm else all_norms(),
        targeted=takes(maker, "targeted"),
    )
