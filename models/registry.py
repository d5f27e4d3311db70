"""Architectures by name: the project's own, torchvision's classification models, or an import path."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from eadbench.models import architectures
from eadbench.models.code import imported

__all__ = ["MODELS", "ImageNetNormalised", "build", "classes_of", "initial_parameters"]

MODELS: Mapping[str, Callable[..., nn.Module]] = {
    "cw_mnist": architectures.carlini_wagner_mnist,
    "cw_cifar10": architectures.carlini_wagner_cifar10,
    "digits": architectures.digits,
}

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# These two return tuples in training mode, unless they are built without their auxiliary heads.
AUXILIARY_HEADS = {"googlenet": ("aux1", "aux2"), "inception_v3": ("AuxLogits",)}


class ImageNetNormalised(nn.Module):
    """A network that normalises images in [0, 1] by ImageNet's mean and standard deviation.

    Grey images (N, 1, H, W) are repeated into three channels. Images are not resized.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, K) of images (N, 3, H, W) or (N, 1, H, W) in [0, 1]."""
        logits: Tensor = self.network((images - self.mean) / self.std)
        return logits


def build(arch: str, /, *, num_classes: int, **parameters: Any) -> nn.Module:
    """Build an untrained model, or one with torchvision's published weights, on the CPU.

    The initial weights depend on torch's global random state.

    Parameters
    ----------
    arch
        A name of `MODELS`, the name of a torchvision classification model (`resnet18`, `vit_b_16`, ...), or
        `package.module:function`: a function that takes the parameters, and `num_classes` if its network can have any
        number of classes, and returns a module.
    num_classes
        Number of logits, K.
    **parameters
        Parameters of the architecture's function. torchvision's functions take `weights`: the name of published
        weights such as "IMAGENET1K_V1", or None.

    Raises
    ------
    ValueError
        The architecture or a parameter is unknown, or published weights do not fit or cannot be fetched.
    """
    if arch in MODELS:
        return _call(arch, MODELS[arch], num_classes, parameters)
    if ":" in arch:
        return _call(arch, _imported(arch), num_classes, parameters)
    known = _torchvision_names()
    if arch in known:
        return _torchvision(arch, num_classes, **parameters)
    close = difflib.get_close_matches(arch, [*MODELS, *known], n=3, cutoff=0.5) or list(MODELS)
    raise ValueError(
        f"unknown architecture {arch!r}; closest: {', '.join(close)} "
        "(or a torchvision classification model, or package.module:function)"
    )


def initial_parameters(arch: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters without torchvision's `weights`, for a model whose weights will be loaded from a file."""
    from_torchvision = arch not in MODELS and ":" not in arch
    return {name: value for name, value in parameters.items() if not (from_torchvision and name == "weights")}


def classes_of(arch: str, parameters: Mapping[str, Any]) -> int | None:
    """Return how many classes an architecture's published weights know; None if it names none."""
    weights = parameters.get("weights")
    if weights is None or arch in MODELS or ":" in arch:
        return None
    import torchvision.models

    published = torchvision.models.get_model_weights(arch).__members__
    return len(published[weights].meta["categories"]) if weights in published else None


def _imported(arch: str) -> Callable[..., Any]:
    try:
        return imported(arch)
    except ValueError as error:
        raise ValueError(f"architecture {arch!r}: {error}") from error


def _call(arch: str, function: Callable[..., Any], num_classes: int, parameters: Mapping[str, Any]) -> nn.Module:
    signature = inspect.signature(function)
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    classes = {"num_classes": num_classes} if takes_any or "num_classes" in signature.parameters else {}
    try:
        signature.bind(**classes, **parameters)
    except TypeError as error:
        raise ValueError(f"architecture {arch!r} takes {signature}: {error}") from error
    try:
        model = function(**classes, **parameters)
    except (Exception, SystemExit) as error:  # the function is the user's, and may raise anything
        raise ValueError(f"architecture {arch!r}: {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise ValueError(f"architecture {arch!r} must return a torch.nn.Module, got {type(model).__name__}")
    return model


def _torchvision_names() -> list[str]:
    # torchvision takes a second to import, so it is imported only for its own architectures.
    import torchvision.models

    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return names


def _torchvision(arch: str, num_classes: int, *, weights: str | None = None, **parameters: Any) -> nn.Module:
    import torchvision.models

    if weights is not None:
        _check_published(arch, weights, num_classes)
    elif arch in AUXILIARY_HEADS:
        # The published weights need `transform_input`, and may be loaded into this network later.
        parameters = {"aux_logits": False, "init_weights": True, "transform_input": True, **parameters}
    try:
        network = torchvision.models.get_model(
            arch, weights=weights, num_classes=num_classes, progress=False, **parameters
        )
    except TypeError as error:
        raise ValueError(f"torchvision's {arch!r} does not take these parameters: {error}") from error
    except OSError as error:
        remedy = f"put them in {torch.hub.get_dir()}/checkpoints"
        raise ValueError(f"cannot fetch weights {weights!r} of {arch!r} ({error}); {remedy}") from error
    for head in AUXILIARY_HEADS.get(arch, ()):
        network.aux_logits = False
        setattr(network, head, None)
    return ImageNetNormalised(network)


def _check_published(arch: str, weights: str, num_classes: int) -> None:
    import torchvision.models

    published = torchvision.models.get_model_weights(arch)
    if weights not in published.__members__:
        names = ", ".join(published.__members__) or "none"
        raise ValueError(f"unknown weights {weights!r} of {arch!r}; torchvision publishes: {names}")
    classes = len(published[weights].meta["categories"])
    if classes != num_classes:
        raise ValueError(f"weights {weights!r} of {arch!r} know {classes} classes, not {num_classes}")
