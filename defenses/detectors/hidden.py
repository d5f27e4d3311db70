"""Activations inside a network, read while it runs.

Shapes: N images, D units of a layer, K classes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

__all__ = ["dropped_out", "last_hidden", "relu_outputs"]


def last_hidden(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """The activations (N, D) that the last linear layer takes, and the logits (N, K); both have gradients.

    Raises
    ------
    ValueError
        The model has no linear layer.
    """
    inputs: list[Tensor] = []
    with _watched(model, nn.Linear, lambda given, _: inputs.append(given[0])):
        logits: Tensor = model(images)
    if not inputs:
        raise ValueError("the victim has no linear layer, so it has no last hidden layer")
    return inputs[-1].flatten(1), logits


def relu_outputs(model: nn.Module, images: Tensor, layers: int) -> list[Tensor]:
    """The outputs (N, D) of the last ReLUs of a model, in the order in which they run.

    Raises
    ------
    ValueError
        Fewer ReLUs of `torch.nn` run.
    """
    outputs: list[Tensor] = []
    with _watched(model, nn.ReLU, lambda _, output: outputs.append(output.flatten(1))):
        model(images)
    if len(outputs) < layers:
        raise ValueError(f"the victim has {len(outputs)} modules torch.nn.ReLU, and {layers} are asked for")
    return outputs[-layers:]


@contextmanager
def _watched(model: nn.Module, kind: type[nn.Module], watch: Callable[[Any, Any], object]) -> Iterator[None]:
    """Call `watch` with the inputs and the output of every module of a kind that runs."""

    def hook(module: nn.Module, given: Any, output: Any) -> None:
        watch(given, output)

    handles = [module.register_forward_hook(hook) for module in model.modules() if isinstance(module, kind)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def dropped_out(model: nn.Module) -> Iterator[None]:
    """Let the dropout of a model in eval mode drop units, and nothing else of it train.

    Raises
    ------
    ValueError
        The model has no dropout.
    """
    modules = [module for module in model.modules() if isinstance(module, _DropoutNd) and module.p > 0]
    if not modules:
        raise ValueError("the victim has no dropout, whose variance could be measured")
    before = [module.training for module in modules]
    for module in modules:
        module.train()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in zip(modules, before, strict=True):
            module.training = training
