"""Recipes: how a model is made. The digest of a recipe names the trained model."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, cast

from eadbench.models.digest import digest_of
from eadbench.models.hyperparameters import Training
from eadbench.models.initial import default_init

__all__ = ["Recipe"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that determines a trained model.

    Parameters
    ----------
    arch, parameters, num_classes
        The arguments of :func:`build`. `parameters` must fit in JSON.
    trained_on
        The identity of the data set whose training split the model learns from.
    defense
        The defence's name and parameters, `{"name": "none"}` for an undefended model.
    training
        None for a model that is not trained here: one with given `weights`, or with published weights, torchvision's (a
        parameter `weights` of the architecture) or a hub's.
    weights
        SHA-256 (64 hex digits) of the user's weights file.
    outputs
        What the network returns: "logits", or "probabilities", whose logarithm is taken.
    normalise
        The mean that is subtracted from images, and the standard deviation that they are divided by, before the
        network: `{"mean": […], "std": […]}`, one number for each channel.
    class_map
        The network's class of each class of the data set; None if they are the same.
    network_classes
        Classes of the network, if `class_map` picks some and the architecture does not tell.
    hub
        What a hub said about the network, with the SHA-256 of its published weights if they are used, as
        :func:`eadbench.models.pin` returns it; None for an architecture that is not of a hub.
    members
        The recipes of an ensemble's members, as :meth:`to_json` has them; None for a single network.
    precision
        The precision of the attacks that craft examples to train on; "float32" if there are none.

    Raises
    ------
    ValueError
        The recipe has no source of weights, or two, parameters that do not fit in JSON, or a class map that does not
        give each class of the data set a class of its own.
    """

    arch: str
    parameters: Mapping[str, Any]
    num_classes: int
    trained_on: str
    defense: Mapping[str, Any]
    training: Training | None
    weights: str | None = None
    outputs: Literal["logits", "probabilities"] = "logits"
    normalise: Mapping[str, Any] | None = None
    class_map: tuple[int, ...] | None = None
    network_classes: int | None = None
    hub: Mapping[str, Any] | None = None
    members: Sequence[Mapping[str, Any]] | None = None
    precision: Literal["float32", "tf32", "bf16"] = "float32"

    def __post_init__(self) -> None:
        for name in ("parameters", "defense", "hub", "normalise", "members"):
            object.__setattr__(self, name, _json_value(getattr(self, name), name))
        if self.training is not None and self.training.init is None:
            object.__setattr__(self, "training", replace(self.training, init=default_init(self.arch)))
        if "name" not in self.defense:
            raise ValueError(f'recipe.defense needs a "name", got {self.defense!r}')
        if self.weights is not None and self.training is not None:
            raise ValueError("recipe: given weights are not trained further; leave out training or weights")
        published = self.parameters.get("weights") is not None or "weights" in (self.hub or {})
        if self.members is not None:
            self._check_members()
        elif self.weights is None and self.training is None and not published:
            raise ValueError("recipe: has neither training nor weights")
        if self.training is not None and self.training.init == "glorot" and published:
            raise ValueError("recipe.training.init: glorot would replace the published weights; leave out one")
        if self.outputs not in ("logits", "probabilities"):
            raise ValueError(f'recipe.outputs must be "logits" or "probabilities", got {self.outputs!r}')
        if self.precision not in ("float32", "tf32", "bf16"):
            raise ValueError(f'recipe.precision must be "float32", "tf32" or "bf16", got {self.precision!r}')
        self._check_normalise()
        self._check_class_map()

    def _check_members(self) -> None:
        if self.weights is not None or self.training is not None:
            raise ValueError("recipe: an ensemble is not trained itself, and has no weights of its own; leave them out")
        members = self.member_recipes()
        if len(members) < 2 or len({member.digest for member in members}) < len(members):
            raise ValueError("recipe: an ensemble needs two members or more, all different")
        for member in members:
            if member.members is not None:
                raise ValueError("recipe: a member of an ensemble must not be an ensemble; name its members instead")
            if member.num_classes != self.num_classes:
                raise ValueError(f"recipe: members must have {self.num_classes} classes, got {member.num_classes}")

    def member_recipes(self) -> "list[Recipe]":
        """Return the recipes of an ensemble's members; none for a single network."""
        return [Recipe.from_json(member) for member in self.members or ()]

    def _check_normalise(self) -> None:
        if self.normalise is None:
            return
        if set(self.normalise) != {"mean", "std"}:
            raise ValueError(f"recipe.normalise must have mean and std, has {', '.join(self.normalise) or 'neither'}")
        mean, std = self.normalise["mean"], self.normalise["std"]
        if not (isinstance(mean, list) and isinstance(std, list) and len(mean) == len(std) > 0):
            raise ValueError(f"recipe.normalise must have a number for each channel, has mean {mean} and std {std}")
        if min(std) <= 0:
            raise ValueError(f"recipe.normalise.std must be above 0, got {std}")

    def _check_class_map(self) -> None:
        if self.class_map is None:
            if self.network_classes is not None:
                raise ValueError(
                    "recipe.network_classes needs class_map, which picks the data set's classes among them"
                )
            return
        object.__setattr__(self, "class_map", tuple(self.class_map))
        if not all(isinstance(number, int) and not isinstance(number, bool) for number in self.class_map):
            raise ValueError(f"recipe.class_map must hold whole numbers, got {self.class_map}")
        if len(self.class_map) != self.num_classes:
            raise ValueError(f"recipe.class_map must have {self.num_classes} classes, got {len(self.class_map)}")
        if min(self.class_map) < 0 or len(set(self.class_map)) < len(self.class_map):
            raise ValueError("recipe.class_map must give each class of the data set a class of its own, from 0")
        if self.network_classes is not None and max(self.class_map) >= self.network_classes:
            last, known = max(self.class_map), self.network_classes
            raise ValueError(f"recipe.class_map names the class {last} of a network with {known} classes")

    @property
    def digest(self) -> str:
        """The name of the trained model: 16 hex digits."""
        return digest_of(self.to_json())

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def defense_parameters(self) -> dict[str, Any]:
        """The defence's parameters, without its name."""
        return {name: value for name, value in self.defense.items() if name != "name"}

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as JSON types. The digest is computed from them, so a changed key renames every model.

        Fields that most recipes leave at their defaults are left out.
        """
        content = asdict(self)
        names = ("normalise", "class_map", "network_classes", "hub", "members")
        defaults: dict[str, str | None] = {**dict.fromkeys(names), "outputs": "logits", "precision": "float32"}
        for name, default in defaults.items():
            if content[name] == default:
                del content[name]
        if self.training is not None:
            content["training"] = self.training.to_json()
        if self.class_map is not None:
            content["class_map"] = list(self.class_map)
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Recipe":
        """Return the recipe that :meth:`to_json` wrote.

        Raises
        ------
        ValueError
            The content has unknown keys, or lacks some.
        """
        training = content.get("training")
        try:
            made = None if training is None else Training(**{"init": "torch", **training})
            return cls(**{**content, "training": made})
        except TypeError as error:
            names = ", ".join(field.name for field in fields(cls))
            raise ValueError(f"not a recipe ({error}); its keys are {names}") from error


def _json_value(value: object, where: str) -> Any:
    """Copy a value into JSON types with sorted keys, so that equal content compares equal."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ValueError(f"recipe.{where}: keys must be strings, got {list(value)}")
        return {key: _json_value(value[key], f"{where}.{key}") for key in sorted(cast("Mapping[str, Any]", value))}
    if isinstance(value, list | tuple):
        return [_json_value(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise ValueError(f"recipe.{where} must fit in JSON, got {type(value).__name__}")
