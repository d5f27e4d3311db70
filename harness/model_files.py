"""Files of models, looked at before a worker is started: weights that a user brings, recipes that are stored."""

import json
import warnings
from pathlib import Path

from harness.errors import UserError
from harness.storage import located
from models import Recipe, build, initial_parameters, load_weights
from models.code import refuse_code


def weights_file(named: str, where: str) -> Path:
    """The file of weights that a spec names at `where`.

    Raises
    ------
    UserError
        There is none.
    """
    try:
        file = located(named)
        found = file.is_file()
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    except OSError as error:
        raise UserError(f"{where}: {named} cannot be read: {error.strerror or error}") from error
    if not found:
        raise UserError(f"{where}: there is no file {named}")
    return file


def check_weights(recipe: Recipe, weights: str, where: str) -> None:
    """Load a weights file into its architecture.

    Raises
    ------
    UserError
        The architecture cannot be built, or the file is not of it.
    """
    try:
        parameters = initial_parameters(recipe.arch, recipe.parameters)
        model = build(recipe.arch, num_classes=recipe.num_classes, **parameters)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch says of a file that it then refuses
            load_weights(model, located(weights))
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{where}: {' '.join(str(error).split())}") from error


def read_recipe(file: Path) -> Recipe:
    """The recipe of a stored model.

    Raises
    ------
    UserError
        There is none.
    """
    try:
        return Recipe.from_json(json.loads(file.read_bytes())["recipe"])
    except FileNotFoundError as error:
        raise UserError(f"{file}: there is no such file; run the sweep again, to have the model made") from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"{file}: not a stored model's recipe ({error}); delete its folder, to have it made") from error


def check_recipe(file: Path) -> None:
    """Read the recipe by which a stored model will be loaded.

    Raises
    ------
    UserError
        It is none, or names code where code is refused.
    """
    recipe = read_recipe(file)
    try:
        refuse_code(recipe.arch)
    except ValueError as error:
        raise UserError(f"{file}: recipe.arch: {error}") from error
