"""A model as attacks need it, given back as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """The model in eval mode with parameters that ask for no gradient; both are restored on leaving."""
    training = {module: module.training for module in model.modules()}
    asking = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    for parameter in asking:
        parameter.requires_grad_(False)
    try:
        yield model
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)
        for module, mode in training.items():
            module.training = mode
