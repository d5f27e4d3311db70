"""Defences: how a victim is hardened while it is trained."""

from collections.abc import Callable, Mapping

from torch import nn

from defenses import undefended

__all__ = ["DEFENSES"]

DEFENSES: Mapping[str, Callable[..., nn.Module]] = {
    "none": undefended.train_victim,
}
