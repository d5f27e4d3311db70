"""What a defence is: the protocol of every entry of a spec's `defense`, ours and others' alike."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn
from torch.utils.data import Dataset

from eadbench.attacks.engine.declaration import MISSING, dataclass_breaches, member, unknown_fields, wrong_names
from eadbench.models import Recipe

__all__ = ["Crafting", "Defense", "Fit", "Loss", "breaches"]

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits (B, K) and labels to a scalar."""
Fit = Callable[..., None]
"""`models.train`, with the device, the progress report and the checkpoint already chosen."""


@dataclass(frozen=True, kw_only=True)
class Crafting:
    """Adversarial examples of training images that a defence asks for, crafted towards every incorrect class.

    The images are drawn from those that the attacked model classifies correctly.

    Parameters
    ----------
    on
        The model to attack: a key of what :meth:`Defense.needs` returns.
    attacks
        Entries as in a spec: `[{name: cw}, {name: ead, decision_rules: [l1]}]`.
    images
        Number of training images to attack.
    seed
        Seed of their order.
    """

    on: str
    attacks: Sequence[Mapping[str, Any]]
    images: int
    seed: int = 0


class Defense(Protocol):
    """A frozen keyword-only dataclass of parameters that trains hardened models.

    Inherit from this class for the defaults below, or write a class with the same members; a spec names either by its
    import path, ``package.module:MyDefense``. The fields are what a spec gives; with the name they are a recipe's
    `defense`. A field called `attacks` holds entries as in a spec, and the harness fills in their defaults.

    Attributes
    ----------
    LABEL : str
        The name in tables and figures; the class's name by default.
    AXES : tuple of str
        Parameters that a spec may give as lists: each value makes a victim of its own.
    LATER : tuple of str
        Parameters that earlier versions lacked. A recipe leaves them out at their defaults, so that its digest stays.
    """

    LABEL: ClassVar[str]
    AXES: ClassVar[tuple[str, ...]] = ()
    LATER: ClassVar[tuple[str, ...]] = ()

    def needs(self, recipe: Recipe) -> Mapping[str, Recipe]:
        """The models that must be trained before the model of `recipe`, by the part that they play.

        Raises
        ------
        ValueError
            The defence cannot train this recipe.
        """
        ...

    def crafts(self) -> Crafting | None:
        """The adversarial examples to train on, if any."""
        return None

    def train(
        self,
        recipe: Recipe,
        data: Dataset[Any],
        *,
        needed: Mapping[str, nn.Module],
        examples: Dataset[Any] | None,
        fit: Fit,
    ) -> nn.Module:
        """The trained model of `recipe`, in eval mode: the network of its architecture, with new weights.

        Parameters
        ----------
        data
            The training split: pairs of an image (C, H, W) in [0, 1] and an int label.
        needed
            The models of :meth:`needs`, trained and in eval mode.
        examples
            The examples of :meth:`crafts`, with their true labels; None if it asks for none.
        fit
            Trains a model in place.
        """
        ...

    def wrap(self, model: nn.Module) -> nn.Module:
        """The victim that is attacked: the trained or given network, with what the defence puts in front of it.

        The weights of the network alone are stored, so this must follow from the fields, and have no random weights.
        """
        return model


def breaches(defense: object) -> list[str]:
    """List how a class breaks the protocol, one line each, without running it.

    Each line reads well behind the name of the class: ``must have a method needs(recipe)``.
    """
    problems = dataclass_breaches(defense)
    if not isinstance(defense, type) or problems:
        return problems
    for variable in ("AXES", "LATER"):
        if (line := wrong_names(defense, variable, f"must declare {variable}")) is not None:
            problems.append(line)
        elif unknown := unknown_fields(defense, getattr(defense, variable, ())):
            problems.append(f"must name its own fields in {variable}, got {', '.join(unknown)}")
    if not isinstance(getattr(defense, "LABEL", ""), str):
        problems.append(f"must declare LABEL as text, got {defense.LABEL!r}")  # type: ignore[attr-defined]
    problems += _method_breaches(defense, "needs", "needs(recipe)", "recipe")
    problems += _method_breaches(defense, "crafts", "crafts(), such as that of eadbench.defenses.Defense")
    if member(defense, "wrap") is not MISSING:
        problems += _method_breaches(defense, "wrap", "wrap(model)", "model")
    train = "train(recipe, data, *, needed, examples, fit)"
    problems += _method_breaches(defense, "train", train, "recipe", "data", needed={}, examples=None, fit=None)
    return problems


def _method_breaches(defense: type, name: str, wanted: str, *arguments: object, **keywords: object) -> list[str]:
    """Check that a method is there, and that it takes the arguments that the harness gives it."""
    method = member(defense, name)
    unwritten = vars(Defense)[name] if name not in ("crafts", "wrap") else MISSING
    if method in (MISSING, unwritten) or not callable(method):
        return [f"must have a method {wanted}"]
    try:
        inspect.signature(method).bind("self", *arguments, **keywords)
    except TypeError as error:
        return [f"must have a method {wanted}: {error}"]
    return []
