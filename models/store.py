"""Trained models on disk: a folder with `weights.safetensors` and `recipe.json`, never a pickle.

Each file is written atomically, `recipe.json` last: a folder that has it holds a complete model.
"""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from eadbench.models.files import replace_file
from eadbench.models.recipe import Recipe
from eadbench.models.registry import ImageNetNormalised, build, initial_parameters
from eadbench.models.training import seeded

__all__ = ["Stored", "copy", "is_stored", "load", "load_weights", "read", "save"]

WEIGHTS = "weights.safetensors"
RECIPE = "recipe.json"


def is_stored(folder: Path) -> bool:
    """Return whether the folder holds a complete model."""
    return (folder / RECIPE).is_file()


def save(folder: Path, recipe: Recipe, model: nn.Module, facts: Mapping[str, Any]) -> None:
    """Write a trained model into a folder, replacing the files of one that is there.

    Parameters
    ----------
    facts
        Measurements to store with it, such as `{"accuracy": 0.99}`; they must fit in JSON.
    """
    content = json.dumps({"recipe": recipe.to_json(), "facts": dict(facts)}, indent=2, allow_nan=False)
    # Copies, because safetensors refuses tensors that share memory or are not contiguous.
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }
    replace_file(folder / WEIGHTS, safetensors.torch.save(tensors))
    replace_file(folder / RECIPE, (content + "\n").encode())


def copy(source: Path, folder: Path) -> None:
    """Copy a stored model into another folder."""
    for name in (WEIGHTS, RECIPE):
        replace_file(folder / name, (source / name).read_bytes())


class Stored(NamedTuple):
    """The bytes of a stored model, and the folder that they come from."""

    folder: str
    recipe: bytes
    weights: bytes


def read(folder: Path) -> Stored:
    """Read the bytes of a stored model.

    Raises
    ------
    ValueError
        The folder holds no complete model.
    """
    if not is_stored(folder):
        raise ValueError(f"{folder} holds no trained model: there is no {RECIPE}")
    return Stored(str(folder), _bytes(folder / RECIPE), _bytes(folder / WEIGHTS))


def load(stored: Path | Stored, *, device: str | torch.device = "cpu") -> tuple[nn.Module, Recipe, dict[str, Any]]:
    """Load a model (in eval mode, on `device`) with its recipe and its facts.

    Parameters
    ----------
    stored
        The model's folder, or its bytes as :func:`read` returns them.

    Raises
    ------
    ValueError
        The folder holds no complete model, or its weights do not fit its recipe.
    """
    folder, description, weights = stored if isinstance(stored, Stored) else read(stored)
    try:
        content = json.loads(description)
        recipe, facts = Recipe.from_json(content["recipe"]), dict(content["facts"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder}/{RECIPE} does not describe a trained model: {error}") from error
    with seeded(0):  # the initial weights are random and will be replaced
        model = build(recipe.arch, num_classes=recipe.num_classes, **initial_parameters(recipe.arch, recipe.parameters))
    _load(model, _read_safetensors(f"{folder}/{WEIGHTS}", weights), f"{folder}/{WEIGHTS}")
    return model.to(device).eval(), recipe, facts


def load_weights(model: nn.Module, path: Path) -> None:
    """Load weights into a model from a safetensors file or from a state dict saved by `torch.save`.

    The weights of a plain torchvision network also fit an :class:`ImageNetNormalised` one.

    Raises
    ------
    ValueError
        The file is neither, or its names or shapes are not the model's.
    """
    read_tensors = _read_safetensors if path.suffix == ".safetensors" else _read_state_dict
    _load(model, read_tensors(str(path), _bytes(path)), str(path))


def _load(model: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Load tensors into a model by name; `where` names their file in messages."""
    if isinstance(model, ImageNetNormalised) and not any(name.startswith("network.") for name in tensors):
        model = model.network
    expected = model.state_dict()
    differences = (
        [f"lacks {name}" for name in expected if name not in tensors]
        + [f"has the unknown {name}" for name in tensors if name not in expected]
        + [
            f"has {name} {tuple(tensors[name].shape)}, not {tuple(tensor.shape)}"
            for name, tensor in expected.items()
            if name in tensors and tensors[name].shape != tensor.shape
        ]
    )
    if differences:
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise ValueError(f"{where} does not fit the architecture: it {'; '.join(differences[:3])}{more}")
    model.load_state_dict(tensors)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _read_safetensors(path: str, content: bytes) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error


def _read_state_dict(path: str, content: bytes) -> dict[str, Tensor]:
    refusal = f"{path} must be a state dict of tensors, as torch.save writes it, or a .safetensors file"
    try:
        tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (EOFError, RuntimeError, UnpicklingError, ValueError) as error:
        raise ValueError(refusal) from error
    if not isinstance(tensors, Mapping) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ValueError(refusal)
    return dict(tensors)
