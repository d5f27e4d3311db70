"""Read the recipes of stored models."""

import json
from pathlib import Path

from eadbench.harness.errors import UserError
from eadbench.harness.storage import read_at_most
from eadbench.models import Recipe
from eadbench.models.code import refuse_code

MOST_BYTES = 2**24
"""Bytes of a recipe that are read."""


def read_recipe(file: Path) -> Recipe:
    """Read the recipe of a stored model.

    Raises
    ------
    UserError
        The file is missing or damaged.
    """
    try:
        return Recipe.from_json(json.loads(read_at_most(file, MOST_BYTES))["recipe"])
    except FileNotFoundError as error:
        raise UserError(f"{file}: there is no such file; run the sweep again to make the model") from error
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise UserError(f"{file}: not a stored model's recipe ({error}); delete its folder and run again") from error


def check_recipe(file: Path) -> None:
    """Check that a stored model can be loaded.

    Raises
    ------
    UserError
        The recipe is missing or damaged, or names code although code is refused.
    """
    recipe = read_recipe(file)
    try:
        refuse_code(recipe.arch)
    except ValueError as error:
        raise UserError(f"{file}: recipe.arch: {error}") from error
