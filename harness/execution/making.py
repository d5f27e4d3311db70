"""Ensembles, and what a defence of the user's own has made: checked before it is stored."""

from typing import Any

import torch
from torch import nn

from eadbench import models
from eadbench.harness.datasets import Split
from eadbench.harness.errors import EadbenchError, UserError
from eadbench.harness.execution.probing import probed, sample
from eadbench.harness.messages import one_line
from eadbench.harness.registry import DEFENSES
from eadbench.harness.results.folder import Results
from eadbench.harness.results.model_files import WRAPPED, WRAPPED_MEMBERS, in_front, read_model

__all__ = ["check_made", "ensemble", "refuse_own"]


def ensemble(recipe: models.Recipe, results: Results) -> tuple[nn.Module, dict[str, Any]]:
    """Return an ensemble of stored members, and which of them have something in front."""
    loaded = [models.load(read_model(results.model(member.digest))) for member in recipe.member_recipes()]
    wrapped = [number for number, (_, _, facts) in enumerate(loaded) if facts.get(WRAPPED)]
    return models.Ensemble([model for model, _, _ in loaded]), {WRAPPED_MEMBERS: wrapped} if wrapped else {}


def refuse_own(recipe: models.Recipe, error: Exception) -> None:
    """Raise what a defence's training raised as a mistake of the user's, if the defence is code of the user's own.

    Such code fails on every worker. Faults of the machine are not its own.

    Raises
    ------
    UserError
        The defence's code failed.
    """
    name = recipe.defense["name"]
    if isinstance(error, EadbenchError | OSError | MemoryError | torch.OutOfMemoryError) or not DEFENSES.is_own(name):
        return
    reason = f"{name}.train failed with {type(error).__name__}: {one_line(error)}"
    raise UserError(f"victim {recipe.digest}, {recipe.arch}: {reason}") from error


def check_made(recipe: models.Recipe, model: nn.Module, split: Split, device: str) -> dict[str, Any]:
    """Check a model that a defence has made, if it is the user's own. Return whether it puts something in front.

    Parameters
    ----------
    split
        The images that it is probed on.

    Raises
    ------
    UserError
        It is no network of its architecture, or cannot be attacked.
    """
    name = recipe.defense["name"]
    if not DEFENSES.is_own(name):
        return {} if in_front(recipe, model) is model else {WRAPPED: True}
    where = f"victim {recipe.digest}, {recipe.arch}: {name}"
    names = models.build_network(recipe, published=False).state_dict().keys()
    if not isinstance(model, nn.Module) or model.state_dict().keys() != names:
        raise UserError(f"{where}.train must return the network of {recipe.arch}; put what is in front of it in wrap")
    victim = in_front(recipe, model)
    probed(victim.to(device).eval(), sample(split), recipe, where)
    return {} if victim is model else {WRAPPED: True}
