"""Initial weights of networks that are trained."""

from typing import Literal

from torch import nn

__all__ = ["Init", "default_init", "initialise"]

Init = Literal["glorot", "torch"]
"""Glorot-uniform weights and zero biases, as Keras has them (Glorot & Bengio 2010); or those that torch gives."""

CARLINI_WAGNER = ("cw_mnist", "cw_cifar10")
"""Architectures whose authors trained them with Keras."""


def default_init(arch: str) -> Init:
    """Return the initial weights of an architecture, unless a recipe names others."""
    return "glorot" if arch in CARLINI_WAGNER else "torch"


def initialise(model: nn.Module, init: Init) -> None:
    """Draw the initial weights of a new network from torch's random state, in place; "torch" leaves it as it is."""
    if init == "torch":
        return
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
