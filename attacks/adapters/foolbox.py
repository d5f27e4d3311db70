"""Attacks of foolbox 3: ``foolbox:L1FMNAttack``."""

from typing import Any, ClassVar

from torch import Tensor, nn

from eadbench.attacks.adapters.peer import MARGINS, Peer, all_norms, norm_in, peer_class, takes


class FoolboxPeer(Peer):
    """A class of foolbox that minimises a distance, called as ``Attack(…).run(model, images, criterion)``."""

    LIBRARY: ClassVar[str] = "foolbox"

    def run(self, victim: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Call the library; return its images."""
        import foolbox

        margins = {name: self.kappa for name in MARGINS if takes(self.MAKER, name)}
        model = foolbox.PyTorchModel(victim.eval(), bounds=(0, 1), device=images.device)
        criterion = foolbox.criteria.TargetedMisclassification if self.targeted else foolbox.criteria.Misclassification
        attack = self.MAKER(**self.options, **margins)
        result: Any = attack.run(model, images, criterion(labels))
        return result  # type: ignore[no-any-return]


def adapted(name: str) -> type[Peer]:
    """Return the attack called `name` as a class of ours.

    Raises
    ------
    ValueError
        foolbox has no such attack, or it needs an ε.
    """
    import foolbox

    maker: Any = getattr(foolbox.attacks, name, None)
    if not (isinstance(maker, type) and issubclass(maker, foolbox.attacks.base.Attack)):
        raise ValueError(f"foolbox has no attack {name!r}")
    if not issubclass(maker, foolbox.attacks.base.MinimizationAttack):
        raise ValueError(f"foolbox's {name} needs an ε; attacks that minimise a distance are run")
    norm = norm_in(name)
    return peer_class(FoolboxPeer, name, maker, leave_out=(), norms=(norm,) if norm else all_norms())
