"""Attacks that are functions, as those of adv-lib: ``f(model, inputs, labels, targeted=False, …)`` to images."""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from eadbench.attacks.adapters.peer import MARGINS, Peer, all_norms, norm_in, peer_class, takes

__all__ = ["FunctionPeer", "function_attack"]

FIRST = 3
"""The parameters before the hyperparameters: the model, images and labels, whatever their names."""
ORDERS = {"l0": 0, "l1": 1, "l2": 2, "linf": float("inf")}


class FunctionPeer(Peer):
    """A function of a model, images (G, C, H, W) in [0, 1] and labels (G,), which returns adversarial images."""

    LIBRARY: ClassVar[str] = "function"

    def run(self, victim: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Call the function; return its images."""
        given: dict[str, Any] = {name: self.kappa for name in MARGINS if takes(self.MAKER, name)}
        given |= {"targeted": self.targeted} if takes(self.MAKER, "targeted") else {}
        given |= {"norm": ORDERS[self.norm]} if takes(self.MAKER, "norm") else {}
        given |= {"distance": self.norm} if takes(self.MAKER, "distance") else {}
        result: Tensor = self.MAKER(victim.eval(), images, labels, **self.options, **given)
        return result


def function_attack(function: Callable[..., Any], base: type[Any] = FunctionPeer) -> type[Peer]:
    """Return a function as a class of ours."""
    names = list(inspect.signature(function).parameters)
    name = getattr(function, "__name__", "attack")
    chosen = takes(function, "norm") or takes(function, "distance")
    told = norm_in(name)
    return peer_class(
        base,
        name,
        function,
        leave_out=(*names[:FIRST], "distance", "callback", "return_unsuccessful", "return_targets"),
        norms=(told,) if told and not chosen else all_norms(),
        targeted=takes(function, "targeted"),
    )
