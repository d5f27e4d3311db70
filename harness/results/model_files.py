"""Read stored models, checked against their folder's name and their record."""

import hashlib
import json
from pathlib import Path
from typing import Any

from torch import nn

from eadbench import models
from eadbench.harness.errors import DamagedResults, UserError
from eadbench.harness.messages import one_line
from eadbench.harness.plan.recipes import defense_of
from eadbench.harness.storage import read_at_most
from eadbench.models import Recipe, Stored
from eadbench.models.code import refuse_code

__all__ = [
    "WRAPPED",
    "WRAPPED_MEMBERS",
    "check_model",
    "check_recipe",
    "in_front",
    "load_model",
    "load_victim",
    "read_model",
    "read_recipe",
    "recorded_sha256",
]

WRAPPED, WRAPPED_MEMBERS = "wrapped", "wrapped_members"
"""Facts of a stored model: whether its defence puts something in front of it, and of which members of an ensemble."""
MOST_BYTES = 2**24
"""Bytes of a recipe that are read."""


def read_recipe(file: Path) -> Recipe:
    """Read the recipe of a stored model.

    Raises
    ------
    DamagedResults
        The file is missing or damaged, or describes another model than its folder's name.
    """
    try:
        recipe = Recipe.from_json(json.loads(read_at_most(file, MOST_BYTES))["recipe"])
    except FileNotFoundError as error:
        raise DamagedResults(f"{file}: there is no such file; run the sweep again to make the model") from error
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise _damaged(file, f"not a stored model's recipe ({error})") from error
    if recipe.digest != file.parent.name:
        raise _damaged(file, f"describes the model {recipe.digest}, not that of its folder")
    return recipe


def recorded_sha256(folder: Path) -> str | None:
    """Return the SHA-256 of a stored model's weights by its record; None without a model, or before it was kept.

    Raises
    ------
    DamagedResults
        The record is damaged, or describes another model.
    """
    file = folder / "recipe.json"
    if not file.is_file():
        return None
    read_recipe(file)
    sha256 = json.loads(read_at_most(file, MOST_BYTES)).get("sha256")
    return sha256 if isinstance(sha256, str) else None


def check_recipe(file: Path) -> None:
    """Check that a stored model can be loaded.

    Raises
    ------
    DamagedResults
        The recipe is missing or damaged, or describes another model.
    UserError
        It names code although code is refused.
    """
    recipe = read_recipe(file)
    try:
        refuse_code(recipe.arch)
    except ValueError as error:
        raise UserError(f"{file}: recipe.arch: {error}") from error


def read_model(folder: Path) -> Stored:
    """Read a model of a results folder or of a store that sweeps share.

    Raises
    ------
    DamagedResults
        A file is missing or damaged, or belongs to another model.
    """
    read_recipe(folder / "recipe.json")
    try:
        stored = models.read(folder)
        models.check_weights(stored)
    except ValueError as error:
        if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, FileNotFoundError):
            raise error.__cause__ from None  # the storage failed; the file may be sound
        raise _damaged(folder / "weights.safetensors", str(error)) from error
    return stored


def check_model(folder: Path) -> None:
    """Check a stored model against its record, without its weights in memory.

    Raises
    ------
    DamagedResults
        A file is missing or damaged, or belongs to another model.
    """
    recipe, weights = folder / "recipe.json", folder / "weights.safetensors"
    read_recipe(recipe)
    expected = recorded_sha256(folder)
    try:
        with weights.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise _damaged(weights, "there is no such file") from error
    if expected not in (None, digest):
        raise _damaged(weights, "does not have the SHA-256 that recipe.json says")


def load_model(stored: Stored, device: str = "cpu") -> nn.Module:
    """Load a model that :func:`read_model` has read, as :func:`load_victim` does.

    Raises
    ------
    DamagedResults
        Its weights do not fit its architecture.
    """
    try:
        return load_victim(stored, device)[0]
    except ValueError as error:
        raise _damaged(Path(stored.folder) / "weights.safetensors", one_line(error)) from error


def load_victim(stored: Path | Stored, device: str = "cpu") -> tuple[nn.Module, Recipe, dict[str, Any]]:
    """Load a model, with what its defence puts in front of it, its recipe, and its facts.

    Raises
    ------
    UserError
        Its defence is code, which is refused or cannot be imported.
    ValueError
        As :func:`eadbench.models.load`.
    """
    model, recipe, facts = models.load(stored, device=device)
    if isinstance(model, models.Ensemble):
        for number in facts.get(WRAPPED_MEMBERS, ()):
            model.members[number] = in_front(recipe.member_recipes()[number], model.members[number])
    if facts.get(WRAPPED):
        model = in_front(recipe, model)
    return model.to(device).eval(), recipe, facts


def in_front(recipe: Recipe, model: nn.Module) -> nn.Module:
    """Return a network with what the defence of its recipe puts in front of it.

    Raises
    ------
    UserError
        The defence cannot be imported, or its `wrap` fails or returns no module.
    """
    wrap = getattr(defense_of(recipe), "wrap", None)
    if wrap is None:
        return model
    name = recipe.defense["name"]
    try:
        wrapped = wrap(model)
    except Exception as error:  # an outsider's code may raise anything
        raise UserError(f"{name}.wrap failed with {type(error).__name__}: {one_line(error)}") from error
    if not isinstance(wrapped, nn.Module):
        raise UserError(f"{name}.wrap must return a torch.nn.Module, got {type(wrapped).__name__}")
    return wrapped


def _damaged(file: Path, problem: str) -> DamagedResults:
    return DamagedResults(f"{file}: {problem.removeprefix(f'{file} ')}; delete its folder and run again")
