"""Trained models on disk: a folder with `weights.safetensors` and `recipe.json`, never a pickle.

Each file is written atomically, `recipe.json` last: a folder that has it holds a complete model.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import nn

from eadbench.models.adapted import Adapted, build_network
from eadbench.models.files import replace_file
from eadbench.models.recipe import Recipe
from eadbench.models.training import seeded
from eadbench.models.weights import fit, read_bytes, read_safetensors

__all__ = ["Stored", "check_weights", "copy", "input_facts", "is_stored", "load", "read", "save"]

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
    # Copies, because safetensors refuses tensors that share memory or are not contiguous.
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }
    weights = safetensors.torch.save(tensors)
    replace_file(folder / WEIGHTS, weights)
    replace_file(folder / RECIPE, _record({"recipe": recipe.to_json(), "facts": dict(facts)}, weights))


def _record(content: Mapping[str, Any], weights: bytes) -> bytes:
    """Return a model's recipe and facts as a file, with the SHA-256 of its weights."""
    text = json.dumps({**content, "sha256": _sha256(weights)}, indent=2, allow_nan=False)
    return (text + "\n").encode()


def _sha256(weights: bytes) -> str:
    return hashlib.sha256(weights).hexdigest()


def input_facts(model: nn.Module, shape: Sequence[int]) -> dict[str, Any]:
    """Return what a model takes, for readers of its weights in another program.

    Parameters
    ----------
    shape
        (C, H, W) of an image.

    Returns
    -------
    The shape, the order of its axes, the range of a pixel, and `preprocessing`: what the network itself does to an
    image before its first layer, as its class says it; None if the class does not say.
    """
    network = model.network if isinstance(model, Adapted) else model
    preprocessing = getattr(network, "preprocessing", None)
    return {
        "shape": list(shape),
        "layout": "CHW",
        "range": [0, 1],
        "preprocessing": preprocessing if isinstance(preprocessing, str) else None,
    }


def copy(source: Path, folder: Path) -> None:
    """Copy a stored model into another folder. Its record gains the SHA-256 of its weights, if it has none.

    Raises
    ------
    ValueError
        The folder holds no complete model, or other weights than its record says.
    """
    stored = read(source)
    check_weights(stored)
    replace_file(folder / WEIGHTS, stored.weights)
    replace_file(folder / RECIPE, _record(_content(stored), stored.weights))


class Stored(NamedTuple):
    """The bytes of a stored model, and the folder that they come from."""

    folder: str
    recipe: bytes
    weights: bytes

    @property
    def sha256(self) -> str:
        """The SHA-256 of its weights, as 64 hex digits."""
        return _sha256(self.weights)


def read(folder: Path) -> Stored:
    """Read the bytes of a stored model.

    Raises
    ------
    ValueError
        The folder holds no complete model.
    """
    if not is_stored(folder):
        raise ValueError(f"{folder} holds no trained model: there is no {RECIPE}")
    return Stored(str(folder), read_bytes(folder / RECIPE), read_bytes(folder / WEIGHTS))


def check_weights(stored: Stored) -> None:
    """Check the SHA-256 of a model's weights; records before it was kept have none.

    Raises
    ------
    ValueError
        The record is damaged, or the weights are not its own.
    """
    expected = _content(stored).get("sha256")
    if expected not in (None, _sha256(stored.weights)):
        raise ValueError(f"{stored.folder}/{WEIGHTS} does not have the SHA-256 that {RECIPE} says")


def load(stored: Path | Stored, *, device: str | torch.device = "cpu") -> tuple[nn.Module, Recipe, dict[str, Any]]:
    """Load a model (in eval mode, on `device`) with its recipe and its facts.

    Parameters
    ----------
    stored
        The model's folder, or its bytes as :func:`read` returns them.

    Raises
    ------
    ValueError
        The folder holds no complete model, or its weights do not fit its recipe or are not those of its record.
    """
    stored = stored if isinstance(stored, Stored) else read(stored)
    folder, _, weights = stored
    content = _content(stored)
    try:
        recipe, facts = Recipe.from_json(content["recipe"]), dict(content["facts"])
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{folder}/{RECIPE} does not describe a trained model: {error}") from error
    with seeded(0):  # the initial weights are random and will be replaced
        model = build_network(recipe, published=False)
    tensors = read_safetensors(f"{folder}/{WEIGHTS}", weights)
    fit(model, tensors, f"{folder}/{WEIGHTS}")
    check_weights(stored)
    return model.to(device).eval(), recipe, facts


def _content(stored: Stored) -> dict[str, Any]:
    """Return the content of a model's record.

    Raises
    ------
    ValueError
        It is no mapping in JSON.
    """
    try:
        return dict(json.loads(stored.recipe))
    except (RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{stored.folder}/{RECIPE} does not describe a trained model: {error}") from error
