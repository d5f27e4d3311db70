"""Attacks of torchattacks: ``torchattacks:EADL1``."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from eadbench.attacks.adapters.peer import MARGINS, Peer, all_norms, norm_in, peer_class, takes


class TorchattacksPeer(Peer):
    """A class of torchattacks, called as ``Attack(model, …)(images, labels)``."""

    LIBRARY: ClassVar[str] = "torchattacks"

    def run(self, victim: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Call the library; return its images."""
        margins = {name: self.kappa for name in MARGINS if takes(self.MAKER, name)}
        attack = self.MAKER(victim, **self.options, **margins)
        attack.set_device(images.device)
        if self.targeted:
            attack.set_mode_targeted_by_label(quiet=True)
        result: Tensor = attack(images, labels)
        return result


def adapted(name: str) -> type[Peer]:
    """Return the attack called `name` as a class of ours."""
    import torchattacks

    maker = getattr(torchattacks, name, None)
    if not (isinstance(maker, type) and issubclass(maker, torchattacks.attack.Attack)):
        raise ValueError(f"torchattacks has no attack {name!r}")
    try:
        supported = maker(torch.nn.Linear(1, 1)).supported_mode
    except Exception:  # whatever it needs
        supported = ["default"]
    norm = norm_in(name)
    return peer_class(
        TorchattacksPeer,
        name,
        maker,
        leave_out=("model",),
        norms=(norm,) if norm else all_norms(),
        targeted="targeted" in supported,
    )
