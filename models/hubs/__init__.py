"""Model hubs: networks that other packages define. A name is `hub:name`, such as `timm:resnet18.a1_in1k`.

A hub is a module of this package, which is imported only when it is named. It has these functions:

- `describe(name, parameters, normalised=)` returns facts as JSON types: all that is needed to build the network without
  the hub, such as its config. Common facts are `classes`, `mean`, `std` and `size`. If `normalised`, mean and std are
  given by the user.
- `network(name, facts, parameters, classes=, published=)` builds the network, with published weights or random ones.
- `names()` lists what can be named, in the hubs that know it without the network.

A recipe keeps the facts and the SHA-256 of the published weights, so its digest names one network whatever the hub
holds later, and a stored model is loaded without the hub. Pickles are never read beyond tensors, and no hub but
`torchhub` runs code that is not of an installed package.
"""

import hashlib
import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import nn

from eadbench.models.normalised import Normalised
from eadbench.models.unpickling import tensors_only

__all__ = ["HUBS", "LISTED", "build", "describe", "hub_names", "is_hub", "pin"]

HUBS: Mapping[str, str | None] = {
    "timm": "timm",
    "hf": "transformers",
    "robustbench": "robustbench",
    "onnx": "onnx",
    "torchhub": None,
}
"""Hubs, and the extra of this project that each needs."""

LISTED = ("timm", "robustbench")
"""Hubs that list their names."""

_OURS = ("mean", "std", "pretrained")
"""Parameters of every hub, which its packages do not see."""


def is_hub(arch: str) -> bool:
    """Return whether an architecture is of a hub."""
    return ":" in arch and arch.partition(":")[0] in HUBS


def describe(arch: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a hub says about a network: all that is needed to build it without the hub.

    Raises
    ------
    ValueError
        The hub's package is not installed, or the network is unknown or neither local nor in a cache.
    """
    hub, name = _split(arch)
    try:
        normalised = "mean" in parameters and "std" in parameters
        facts: dict[str, Any] = hub.describe(name, _of_hub(parameters), normalised=normalised)
    except Exception as error:  # of another package, which may raise anything
        raise _refusal(arch, error) from error
    given = {key: _channels(arch, key, parameters[key]) for key in ("mean", "std") if key in parameters}
    return {**facts, **given}


def pin(arch: str, parameters: Mapping[str, Any], *, trained: bool) -> dict[str, Any] | None:
    """Return the facts about a network of a hub for its recipe; None for any other architecture.

    Parameters
    ----------
    trained
        Whether the network is trained, or given weights. If not, or with a parameter `pretrained: true`, the facts have
        `weights`: the SHA-256 of its published weights, which are read, and fetched if they are not here.

    Raises
    ------
    ValueError
        As :func:`describe`, or the weights cannot be read.
    """
    if not is_hub(arch):
        return None
    facts = describe(arch, parameters)
    if parameters.get("pretrained", not trained):
        facts["weights"] = _sha256_of_tensors(_network(arch, facts, parameters, facts["classes"], published=True))
    return facts


def build(
    arch: str,
    parameters: Mapping[str, Any],
    *,
    classes: int,
    facts: Mapping[str, Any] | None = None,
    published: bool = False,
    new_head: bool = False,
) -> nn.Module:
    """Build a network of a hub inside its normalisation.

    Parameters
    ----------
    classes
        Number of logits, K.
    facts
        As :func:`pin` returns them; what the hub says now unless given.
    published
        Whether the network has its published weights.
    new_head
        Whether published weights for another number of classes are taken without those of the last layer.

    Raises
    ------
    ValueError
        As :func:`pin`, or the published weights are not those of the facts.
    """
    facts = describe(arch, parameters) if facts is None else facts
    known = facts.get("classes")
    if not published:
        network = _network(arch, facts, parameters, classes, published=False)
    elif known is not None and known != classes and not new_head:
        raise ValueError(f"architecture {arch!r} has weights for {known} classes, not {classes}; give class_map")
    else:
        network = _network(arch, facts, parameters, known, published=True)
        if facts.get("weights", digest := _sha256_of_tensors(network)) != digest:
            reason = "its weights changed since it was planned, or are random"
            raise ValueError(f"architecture {arch!r}: {reason}")
        if known is not None and known != classes:
            network = _with_weights_of(network, _network(arch, facts, parameters, classes, published=False))
    size = facts.get("size")
    mean, std = facts.get("mean") or (0.0,), facts.get("std") or (1.0,)
    return Normalised(
        network,
        mean,
        std,
        size=None if size is None else (size[0], size[1]),
        reverse_channels=facts.get("reverse_channels", False),
    )


def hub_names(hub: str) -> list[str]:
    """Return the names of a hub's networks, with its prefix; none if its package is not installed."""
    try:
        return [f"{hub}:{name}" for name in _module(hub).names()]
    except (ImportError, ValueError):
        return []


def _network(
    arch: str, facts: Mapping[str, Any], parameters: Mapping[str, Any], classes: int | None, *, published: bool
) -> nn.Module:
    """Build the network itself, in eval mode; what its package raises becomes one line."""
    hub, name = _split(arch)
    try:
        with tensors_only():
            network = hub.network(name, facts, _of_hub(parameters), classes=classes, published=published)
    except (Exception, SystemExit) as error:  # of another package, which may raise anything
        raise _refusal(arch, error) from error
    if not isinstance(network, nn.Module):
        raise ValueError(f"architecture {arch!r} must be a torch.nn.Module, got {type(network).__name__}")
    return network.float()


def _split(arch: str) -> tuple[ModuleType, str]:
    hub, _, name = arch.partition(":")
    if not name:
        raise ValueError(f"architecture {arch!r} must have a name after the colon")
    return _module(hub), name


def _module(hub: str) -> ModuleType:
    """Import a hub."""
    try:
        return importlib.import_module(f"eadbench.models.hubs.{hub}")
    except ImportError as error:
        remedy = f"install it: pip install 'eadbench[{HUBS[hub]}]'"
        raise ValueError(f"{hub}: needs a package that is not installed here ({error}); {remedy}") from error


def _of_hub(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name not in _OURS}


def _refusal(arch: str, error: BaseException) -> ValueError:
    text = " ".join(str(error).split())[:500]
    kind = "" if type(error) is ValueError and text else f"{type(error).__name__}: "
    return ValueError(f"architecture {arch!r}: {kind}{text}")


def _channels(arch: str, name: str, value: Any) -> list[float]:
    numbers = value if isinstance(value, list | tuple) else [value]
    right = all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers)
    if not numbers or not right or (name == "std" and min(numbers) <= 0):
        raise ValueError(f"architecture {arch!r}: {name} must be a number per channel, got {value!r}")
    return [float(number) for number in numbers]


def _sha256_of_tensors(network: nn.Module) -> str:
    """Return the SHA-256 of a network's names, shapes and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _with_weights_of(source: nn.Module, network: nn.Module) -> nn.Module:
    """Return a network with the weights of another, where names and shapes are the same."""
    tensors, expected = source.state_dict(), network.state_dict()
    same = {name for name in expected if name in tensors and tensors[name].shape == expected[name].shape}
    network.load_state_dict({name: (tensors if name in same else expected)[name] for name in expected})
    return network
