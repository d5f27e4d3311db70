"""Weights of the user's: find the state dict in a file, and fit its names to an architecture.

Files are safetensors, or what `torch.save` writes, of which tensors alone are ever unpickled.
"""

import io
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from eadbench.models.adapted import Adapted
from eadbench.models.normalised import Normalised

__all__ = ["fit", "load_weights", "read_bytes", "read_safetensors"]

_WRAPPERS = ("_orig_mod.", "module.")
"""What torch.compile and DataParallel put into names, also in the middle."""
_COUNTER = "num_batches_tracked"
"""Batch normalisation's counter, which no prediction depends on."""
_DEPTH = 3
"""Levels of a checkpoint that may hold a state dict."""
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
    while isinstance(model, Adapted | Normalised):
        model = model.network
    content = read_bytes(path)
    read = read_safetensors if path.suffix == ".safetensors" or content[8:9] == b"{" else _read_checkpoint
    expected = model.state_dict()
    candidates = {
        f"{place or 'the file itself'}{f' ({prefix}…)' if prefix else ''}": renamed
        for place, tensors in _state_dicts(read(str(path), content))
        for prefix, renamed in _renamed(tensors, expected)
    }
    if not candidates:
        raise ValueError(f"{path} holds no state dict: a mapping of names to tensors, as model.state_dict() is")
    fitting = [place for place, tensors in candidates.items() if not _differences(tensors, expected, strict=False)]
    if others := [place for place in fitting if not _equal(candidates[place], candidates[fitting[0]], expected)]:
        places = f"{fitting[0]} and {others[0]}"
        raise ValueError(f"{path} holds two state dicts that fit: {places}; save the one that is meant alone")
    chosen = (fitting or sorted(candidates, key=lambda place: len(_missing(candidates[place], expected))))[0]
    return fit(model, candidates[chosen], str(path), strict=strict)


def fit(model: nn.Module, tensors: StateDict, where: str, *, strict: bool = True) -> list[str]:
    """Load tensors into a model by name, and return the names that were ignored; `where` names their file in messages.

    Raises
    ------
    ValueError
        A name, a shape or a type is not the model's, or a value is not finite.
    """
    expected = model.state_dict()
    if differences := _differences(tensors, expected, strict):
        raise ValueError(f"{where} does not fit the architecture: it {'; it '.join(differences)}")
    for name, own in expected.items():
        # Networks may have infinite buffers of their own, such as masks.
        if name in tensors and own.isfinite().all() and not tensors[name].to(own.dtype).isfinite().all():
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


def _read_checkpoint(path: str, content: bytes) -> Any:
    """Return what `torch.save` wrote, if it is made of tensors, numbers, texts and containers."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about a bad file before it refuses it
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises what its damage makes of it
        refusal = f"{path} must be a state dict of tensors, as torch.save writes it, or a .safetensors file"
        if other := re.search(r"GLOBAL ([\w.]+)", str(error)):
            refusal += f"; it holds {other[1]} too, and nothing but tensors is unpickled"
        remedy = "where you trust it, save its tensors alone: torch.save(model.state_dict(), path)"
        raise ValueError(f"{refusal}; {remedy}") from error


def _state_dicts(content: Any, place: str = "", depth: int = _DEPTH) -> Iterator[tuple[str, StateDict]]:
    """Yield every mapping of a checkpoint that has tensors, with the keys that lead to it."""
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        return
    if tensors := {name: value for name, value in content.items() if isinstance(value, Tensor)}:
        yield place, tensors
    if depth > 1:
        for key, value in content.items():
            yield from _state_dicts(value, f"{place}.{key}" if place else key, depth - 1)


def _renamed(tensors: StateDict, expected: StateDict) -> Iterator[tuple[str, StateDict]]:
    """Yield tensors under other names, with the prefix that was taken off, unless all names are right."""
    if _missing(tensors, expected):
        bare = {_without_wrappers(name): tensor for name, tensor in tensors.items()}
        tensors = bare if len(_missing(bare, expected)) < len(_missing(tensors, expected)) else tensors
    yield "", tensors
    if _missing(tensors, expected):
        for prefix in _prefixes(tensors, expected):
            others = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}
            inside = {name.removeprefix(prefix): tensors[name] for name in tensors if name.startswith(prefix)}
            yield prefix, {**others, **inside}


def _without_wrappers(name: str) -> str:
    return ".".join(part for part in name.split(".") if f"{part}." not in _WRAPPERS)


def _prefixes(tensors: StateDict, expected: StateDict) -> list[str]:
    """Return the prefixes after which at least half of the expected names follow."""
    parts = ((name, position) for name in tensors for position, letter in enumerate(name, 1) if letter == ".")
    counts = Counter(name[:position] for name, position in parts if name[position:] in expected)
    return [prefix for prefix, count in counts.items() if 2 * count >= len(expected)]


def _missing(tensors: StateDict, expected: StateDict) -> list[str]:
    """Return the expected names that are not among the tensors, but for counters of batch normalisation."""
    return [name for name in expected if name not in tensors and name.rpartition(".")[2] != _COUNTER]


def _differences(tensors: StateDict, expected: StateDict, strict: bool) -> list[str]:
    """Return how tensors differ from what is expected: names that are missing or unknown, shapes, types."""
    unknown = [name for name in tensors if name not in expected]
    missing = _missing(tensors, expected)
    shared = [(name, tensors[name], own) for name, own in expected.items() if name in tensors]
    wrong = [
        f"{name} {tuple(tensor.shape)}, not {tuple(own.shape)}"
        for name, tensor, own in shared
        if tensor.shape != own.shape
    ] + [
        f"{name} as {str(tensor.layout if tensor.layout != own.layout else tensor.dtype).removeprefix('torch.')}"
        for name, tensor, own in shared
        if tensor.layout != own.layout or tensor.is_meta or (own.is_floating_point() and not tensor.is_floating_point())
    ]
    differences = [f"lacks {_listed(missing)}"] if missing else []
    if unknown and (strict or missing):
        remedy = "" if missing else " (strict: false ignores them)"
        differences.append(f"has the unknown {_listed(unknown)}{remedy}")
    return [*differences, f"has {_listed(wrong)}"] if wrong else differences


def _listed(names: list[str]) -> str:
    """Return the first names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(islice(names, _SHOWN)) + (f" and {more} more" if more > 0 else "")


def _equal(tensors: StateDict, others: StateDict, expected: StateDict) -> bool:
    """Return whether two state dicts give a model the same weights."""
    shared = [(tensors[name], others[name]) for name in expected if name in tensors and name in others]
    return all(tensor is other or torch.equal(tensor, other) for tensor, other in shared)
