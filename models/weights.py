"""Weights of the user's: find the state dict in a file, and fit its names to an architecture.

Files are safetensors, or what `torch.save` writes, of which tensors alone are ever unpickled.
"""

import io
import warnings
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from eadbench.models.adapted import Adapted
from eadbench.models.registry import ImageNetNormalised

__all__ = ["fit", "load_weights", "read_bytes", "read_safetensors"]

PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.", "backbone.", "student.")
"""What wrappers put before names: DataParallel, torch.compile, Lightning and others."""
_DEPTH = 3
"""Wrappers inside one another, and levels of a checkpoint that may hold a state dict."""
_SHOWN = 3
"""Names of one kind in a message."""
StateDict = Mapping[str, Tensor]


def load_weights(model: nn.Module, path: Path, *, strict: bool = True) -> list[str]:
    """Load weights into a model from a safetensors file or from what `torch.save` wrote.

    The file may hold a state dict under a key such as `state_dict`, with names that begin with `module.` or another
    prefix of a wrapper, in any floating type, and without batch normalisation's `num_batches_tracked`. The weights of
    a plain network also fit it inside its normalisation.

    Parameters
    ----------
    path
        A file of this machine or of an object store.
    strict
        Refuse weights that the architecture lacks.

    Returns
    -------
    list of str
        The names that were ignored.

    Raises
    ------
    ValueError
        The file is neither, holds no state dict or two that fit, or its names, shapes or values are wrong.
    """
    while isinstance(model, Adapted | ImageNetNormalised):
        model = model.network
    content = read_bytes(path)
    read = read_safetensors if path.suffix == ".safetensors" else _read_state_dicts
    state_dicts = dict(_state_dicts(read(str(path), content)))
    if not state_dicts:
        raise ValueError(f"{path} holds no state dict: a mapping of names to tensors, as model.state_dict() is")
    renamed = {place: _renamed(tensors, model) for place, tensors in state_dicts.items()}
    fitting = [place for place, tensors in renamed.items() if not _differences(tensors, model, strict)]
    first = renamed[fitting[0]] if fitting else None
    if first is not None and any(not _equal(renamed[place], first) for place in fitting[1:]):
        places = " and ".join(place or "the file itself" for place in fitting[:2])
        raise ValueError(f"{path} holds two state dicts that fit: {places}; save the one that is meant alone")
    closest = first or min(renamed.values(), key=lambda tensors: len(_missing(tensors, model)))
    return fit(model, closest, str(path), strict=strict)


def fit(model: nn.Module, tensors: StateDict, where: str, *, strict: bool = True) -> list[str]:
    """Load tensors into a model by name, and return the names that were ignored; `where` names their file in messages.

    Raises
    ------
    ValueError
        A name or a shape is not the model's, or a value is not finite.
    """
    if differences := _differences(tensors, model, strict):
        raise ValueError(f"{where} does not fit the architecture: it {'; it '.join(differences)}")
    expected = model.state_dict()
    for name, tensor in tensors.items():
        if name in expected and tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{where} has values of {name} that are not finite")
    model.load_state_dict({**expected, **{name: tensors[name] for name in expected if name in tensors}})
    return [name for name in tensors if name not in expected]


def read_bytes(path: Path) -> bytes:
    """Read a file; raise a ValueError that names it if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def read_safetensors(path: str, content: bytes) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file; raise a ValueError that names it if it is none."""
    try:
        return safetensors.torch.load(content)
    except Exception as error:  # a damaged header raises what its damage makes of it
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error


def _read_state_dicts(path: str, content: bytes) -> Any:
    """Return what `torch.save` wrote, if it is made of tensors, numbers, texts and containers."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about a bad file before it refuses it
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises what its damage makes of it
        remedy = "save it by torch.save(model.state_dict(), path)"
        raise ValueError(
            f"{path} must be a state dict of tensors, as torch.save writes it, or a .safetensors file; {remedy}"
        ) from error


def _state_dicts(content: Any, place: str = "", depth: int = _DEPTH) -> Iterator[tuple[str, StateDict]]:
    """Yield every state dict in a checkpoint, with the keys that lead to it."""
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        return
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if tensors and len(tensors) == len(content):
        yield place, tensors
    elif depth > 1:
        for key, value in content.items():
            yield from _state_dicts(value, f"{place}.{key}" if place else key, depth - 1)


def _renamed(tensors: StateDict, model: nn.Module) -> StateDict:
    """Return the tensors without the prefixes of wrappers, such that most names of the model are there."""
    options = [tensors]
    for _ in range(_DEPTH):
        options += [
            shorter
            for option in list(options)
            for prefix in PREFIXES
            if any(name.startswith(prefix) for name in option)
            and len(shorter := {name.removeprefix(prefix): tensor for name, tensor in option.items()}) == len(option)
            and shorter.keys() not in [known.keys() for known in options]
        ]
    return min(options, key=lambda option: len(_missing(option, model)))


def _missing(tensors: StateDict, model: nn.Module) -> list[str]:
    """Return the names of the model that are not among the tensors, but for counters of batch normalisation."""
    counter = "num_batches_tracked"
    return [name for name in model.state_dict() if name not in tensors and name.rpartition(".")[2] != counter]


def _differences(tensors: StateDict, model: nn.Module, strict: bool) -> list[str]:
    """Return how tensors differ from a model's: names that are missing or unknown, and shapes."""
    expected = model.state_dict()
    unknown = [name for name in tensors if name not in expected]
    missing = _missing(tensors, model)
    shapes = [
        f"{name} {tuple(tensors[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    differences = [f"lacks {_listed(missing)}"] if missing else []
    if unknown and (strict or missing):
        remedy = "" if missing else " (strict: false ignores them)"
        differences.append(f"has the unknown {_listed(unknown)}{remedy}")
    return [*differences, f"has {_listed(shapes)}"] if shapes else differences


def _listed(names: list[str]) -> str:
    """Return the first names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(islice(names, _SHOWN)) + (f" and {more} more" if more > 0 else "")


def _equal(tensors: StateDict, others: StateDict) -> bool:
    return tensors.keys() == others.keys() and all(torch.equal(tensors[name], others[name]) for name in tensors)
