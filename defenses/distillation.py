"""Defensive distillation: Papernot et al., "Distillation as a Defense to Adversarial Perturbations" (2016).

A teacher is trained at temperature T, F(x) = softmax(Z(x) / T). A student of the same architecture learns the
teacher's F(x) at T in place of the labels, and is used at T = 1. Teacher and student both start from a network trained
for one epoch at T = 1, as in the code of Carlini and Wagner (2017), whose models the paper uses.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from eadbench.defenses.defense import Defense, Fit
from eadbench.defenses.undefended import initial_model
from eadbench.models import Recipe, train

__all__ = ["Distillation", "DistillationTeacher"]


@dataclass(frozen=True, kw_only=True)
class DistillationTeacher(Defense):
    """The teacher of defensive distillation: trained on the labels at temperature T.

    Parameters
    ----------
    temperature : float
        T > 0, at which it is trained.
    """

    LABEL: ClassVar[str] = "distillation teacher"
    AXES: ClassVar[tuple[str, ...]] = ("temperature",)

    temperature: float

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)
        object.__setattr__(self, "temperature", float(self.temperature))

    def needs(self, recipe: Recipe) -> Mapping[str, Recipe]:
        """The network that training starts from."""
        return {"initial": _initial(recipe)}

    def train(
        self,
        recipe: Recipe,
        data: Dataset[Any],
        *,
        needed: Mapping[str, nn.Module],
        examples: Dataset[Any] | None = None,
        fit: Fit = train,
    ) -> nn.Module:
        """The trained teacher."""
        return _train_at(self.temperature, recipe, data, needed["initial"], fit)


@dataclass(frozen=True, kw_only=True)
class Distillation(Defense):
    """Defensive distillation: a student learns a teacher's probabilities.

    Parameters
    ----------
    temperature : float
        T > 0, at which teacher and student are trained; the student is used at T = 1.
    """

    LABEL: ClassVar[str] = "distillation"
    AXES: ClassVar[tuple[str, ...]] = ("temperature",)

    temperature: float

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)
        object.__setattr__(self, "temperature", float(self.temperature))

    def needs(self, recipe: Recipe) -> Mapping[str, Recipe]:
        """The network that training starts from, and the teacher."""
        teacher = {"name": "distillation_teacher", **asdict(self)}
        return {"initial": _initial(recipe), "teacher": replace(recipe, defense=teacher)}

    def train(
        self,
        recipe: Recipe,
        data: Dataset[Any],
        *,
        needed: Mapping[str, nn.Module],
        examples: Dataset[Any] | None = None,
        fit: Fit = train,
    ) -> nn.Module:
        """The trained student."""
        soft = SoftLabels(data, needed["teacher"], self.temperature)
        return _train_at(self.temperature, recipe, soft, needed["initial"], fit)


class SoftLabels(Dataset[tuple[Tensor, Tensor]]):
    """A data set's images, each labelled with a teacher's probabilities (K,) at a temperature."""

    def __init__(self, data: Dataset[Any], teacher: nn.Module, temperature: float) -> None:
        self._data = data
        device = next(teacher.parameters()).device
        # Without a generator, even an unshuffled loader draws from the global random state.
        loader = DataLoader(data, batch_size=512, generator=torch.Generator())
        with torch.inference_mode():
            parts = [functional.softmax(teacher(images.to(device)) / temperature, 1).cpu() for images, _ in loader]
        self._labels = torch.cat(parts).clone()

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self._data[index][0], self._labels[index]


def _initial(recipe: Recipe) -> Recipe:
    """The recipe of the common start: one epoch without a defence."""
    if recipe.training is None:
        raise ValueError("training is missing: distillation trains its teacher and its student")
    return replace(recipe, defense={"name": "none"}, training=replace(recipe.training, epochs=1))


def _train_at(temperature: float, recipe: Recipe, data: Dataset[Any], start: nn.Module, fit: Fit) -> nn.Module:
    """Train the network from the weights of `start` with the cross-entropy of softmax(Z(x) / T)."""
    assert recipe.training is not None  # checked by `needs`
    model = initial_model(recipe)
    model.load_state_dict(start.state_dict())
    fit(
        model,
        data,
        recipe.training,
        loss=lambda logits, labels: functional.cross_entropy(logits / temperature, labels),
    )
    return model


def _check_temperature(temperature: float) -> None:
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature must be above 0 and finite, got {temperature!r}")
