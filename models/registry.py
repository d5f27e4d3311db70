"""Architectures by name: the project's own, torchvision's classification models, those of hubs, or an import path."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, cast
from urllib.parse import urlsplit

import torch
from torch import nn

from eadbench.models import architectures, hubs
from eadbench.models.code import imported
from eadbench.models.fetching import refuse_fetch
from eadbench.models.normalised import Normalised
from eadbench.models.unpickling import tensors_only

__all__ = ["MODELS", "build", "classes_of", "initial_parameters", "search"]

MODELS: Mapping[str, Callable[..., nn.Module]] = {
    "cw_mnist": architectures.carlini_wagner_mnist,
    "cw_cifar10": architectures.carlini_wagner_cifar10,
    "digits": architectures.digits,
}

# These two return tuples in training mode, unless they are built without their auxiliary heads.
AUXILIARY_HEADS = {"googlenet": ("aux1", "aux2"), "inception_v3": ("AuxLogits",)}


def build(arch: str, /, *, num_classes: int, **parameters: Any) -> nn.Module:
    """Build an untrained model, or one with published weights, on the CPU.

    The initial weights depend on torch's global random state.

    Parameters
    ----------
    arch
        A name of `MODELS`, the name of a torchvision classification model (`resnet18`, `vit_b_16`, ...), a model of a
        hub (`timm:resnet18.a1_in1k`, see :mod:`eadbench.models.hubs`), or `package.module:function`: a function that
        takes the parameters, and `num_classes` if its network can have any number of classes, and returns a module.
    num_classes
        Number of logits, K.
    **parameters
        Parameters of the architecture's function. torchvision's functions take `weights`: the name of published
        weights such as "IMAGENET1K_V1", or None. Models of hubs take `pretrained`, false unless given, and `mean` and
        `std`, the hub's unless given.

    Raises
    ------
    ValueError
        The architecture or a parameter is unknown, or published weights do not fit or cannot be fetched.
    """
    if arch in MODELS:
        return _call(arch, MODELS[arch], num_classes, parameters)
    if hubs.is_hub(arch):
        return hubs.build(arch, parameters, classes=num_classes, published=bool(parameters.get("pretrained")))
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
    initial = dict(parameters)
    if arch in MODELS or ":" in arch:
        return initial
    published = _published(arch).get(initial.pop("weights", None))
    if published is not None and arch.startswith("vit_"):  # whose shapes follow from the size of its images
        initial.setdefault("image_size", published.meta["min_size"][0])
    return initial


def classes_of(arch: str, parameters: Mapping[str, Any]) -> int | None:
    """Return how many classes an architecture's published weights know; None if it names none."""
    if hubs.is_hub(arch):
        return cast("int | None", hubs.describe(arch, parameters)["classes"])
    weights = parameters.get("weights")
    if weights is None or arch in MODELS or ":" in arch:
        return None
    published = _published(arch).get(weights)
    return None if published is None else len(published.meta["categories"])


def search(text: str) -> list[str]:
    """Return the names of architectures that contain a text: ours, torchvision's, and those of installed hubs."""
    names = [*MODELS, *_torchvision_names(), *(name for hub in hubs.LISTED for name in hubs.hub_names(hub))]
    return [name for name in names if text.lower() in name.lower()]


def _imported(arch: str) -> Callable[..., Any]:
    try:
        return imported(arch)
    except ValueError as error:
        raise ValueError(f"architecture {arch!r}: {error}") from error


def _call(arch: str, function: Callable[..., Any], num_classes: int, parameters: Mapping[str, Any]) -> nn.Module:
    if isinstance(function, nn.Module):
        raise ValueError(f"architecture {arch!r} is a network; name a function or class that returns one")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise ValueError(f"architecture {arch!r} must be a function or class of Python: {error}") from error
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    classes = {"num_classes": num_classes} if takes_any or "num_classes" in signature.parameters else {}
    try:
        signature.bind(**classes, **parameters)
    except TypeError as error:
        raise ValueError(f"architecture {arch!r} takes {signature}: {error}") from error
    try:
        model = function(**classes, **parameters)
    except (Exception, SystemExit) as error:  # the function is the user's, and may raise anything
        raise ValueError(f"architecture {arch!r}: {_text(error)}") from error
    if not isinstance(model, nn.Module):
        raise ValueError(f"architecture {arch!r} must return a torch.nn.Module, got {type(model).__name__}")
    return model


def _text(error: BaseException) -> str:
    """Return an exception in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


def _torchvision_names() -> list[str]:
    # torchvision takes a second to import, so it is imported only for its own architectures.
    import torchvision.models

    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return names


def _torchvision(arch: str, num_classes: int, *, weights: str | None = None, **parameters: Any) -> nn.Module:
    import torchvision.models

    if weights is not None:
        _check_published(arch, weights, num_classes)
        _refuse_fetch(arch, weights)
    elif arch in AUXILIARY_HEADS:
        # The published weights need `transform_input`, and may be loaded into this network later.
        parameters = {"aux_logits": False, "init_weights": True, "transform_input": True, **parameters}
    try:
        with tensors_only():  # torchvision would unpickle anything that lies in the cache
            network = torchvision.models.get_model(
                arch, weights=weights, num_classes=num_classes, progress=False, **parameters
            )
    except TypeError as error:
        raise ValueError(f"torchvision's {arch!r} does not take these parameters: {error}") from error
    except OSError as error:
        remedy = f"put them in {torch.hub.get_dir()}/checkpoints"
        raise ValueError(f"cannot fetch weights {weights!r} of {arch!r} ({error}); {remedy}") from error
    except Exception as error:  # a wrong parameter, or a damaged file, raises what its damage makes of it
        raise ValueError(f"torchvision's {arch!r} cannot be built: {_text(error)}") from error
    for head in AUXILIARY_HEADS.get(arch, ()):
        network.aux_logits = False
        setattr(network, head, None)
    return Normalised(network)


def _published(arch: str) -> Mapping[str, Any]:
    """Return torchvision's published weights of an architecture, by name."""
    import torchvision.models

    if arch not in _torchvision_names():
        return {}
    members: Mapping[str, Any] = torchvision.models.get_model_weights(arch).__members__
    return members


def _refuse_fetch(arch: str, weights: str) -> None:
    """Refuse published weights that are not in torch.hub's cache, if nothing may be fetched."""
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    if not (cache / PurePosixPath(urlsplit(_published(arch)[weights].url).path).name).is_file():
        refuse_fetch(f"weights {weights!r} of {arch!r} are not in {cache}")


def _check_published(arch: str, weights: str, num_classes: int) -> None:
    published = _published(arch)
    if weights not in published:
        names = ", ".join(published) or "none"
        raise ValueError(f"unknown weights {weights!r} of {arch!r}; torchvision publishes: {names}")
    classes = len(published[weights].meta["categories"])
    if classes != num_classes:
        raise ValueError(f"weights {weights!r} of {arch!r} know {classes} classes, not {num_classes}; give class_map")
