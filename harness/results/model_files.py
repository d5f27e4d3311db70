"""Check model files before workers start: the user's weights, and recipes of stored models."""

import json
import warnings
from pathlib import Path

from eadbench.harness.errors import UserError
from eadbench.harness.messages import one_line
from eadbench.harness.storage import located
from eadbench.models import Recipe, build, initial_parameters, load_weights
from eadbench.models.code import refuse_code


def check_weights(recipe: Recipe, weights: str, where: str) -> None:
    """Check that a weights file fits its architecture, by loading it.

    Raises
    ------
    UserError
        The architecture cannot be built, or the file does not fit it.
    """
    try:
        parameters = initial_parameters(recipe.arch, recipe.parameters)
        model = build(recipe.arch, num_classes=recipe.num_classes, **parameters)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about a bad file before it refuses it
            load_weights(model, located(weights))
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{where}: {one_line(error)}") from error


def read_recipe(file: Path) -> Recipe:
    """Read the recipe of a stored model.

    Raises
    ------
    UserError
        The file is missing or damaged.
    """
    try:
        return Recipe.from_json(json.loads(file.read_bytes())["recipe"])
    except FileNotFoundError as error:
        raise UserError(f"{file}: there is no such file; run the sweep again to make the model") from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
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
