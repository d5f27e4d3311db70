"""A model in eval mode with frozen parameters, for the time of an attack."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """Put the model into eval mode and freeze its parameters; restore both on leaving.

    Raises
    ------
    ValueError
        The model was built under `torch.inference_mode`.
    """
    if any(parameter.is_inference() for parameter in model.parameters()):
        raise ValueError("the model was built under torch.inference_mode, so it has no gradients; build it outside")
    training = {module: module.training for module in model.modules()}
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield model
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
        for module, mode in training.items():
            module.training = mode
