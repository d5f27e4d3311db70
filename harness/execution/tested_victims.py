"""The victims that `eadbench transfer` tests stored images on: of a spec or a list, given weights, or stored models."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eadbench import models
from eadbench.harness import spec as specs
from eadbench.harness.datasets import DataSet
from eadbench.harness.errors import UserError
from eadbench.harness.plan.recipes import Planned
from eadbench.harness.results.folder import Results
from eadbench.harness.results.model_files import MOST_BYTES
from eadbench.harness.spec import Spec
from eadbench.harness.spec.yaml import parsed
from eadbench.harness.storage import located, read_at_most
from eadbench.models import Recipe, is_hub

__all__ = ["StoredVictim", "spec_of_victims", "stored_victims"]

_EXAMPLES = "resnet50:weights.pth, a recipe.json, or a folder of a stored model"


@dataclass(frozen=True, kw_only=True)
class StoredVictim:
    """A model given by its recipe, with its folder if it is stored there."""

    recipe: Recipe
    folder: Path | None

    def planned(self, data: DataSet, results: Results) -> Planned:
        """Return the victim to test, and copy the stored model into the results.

        Raises
        ------
        UserError
            The model has other classes than the data set, or is damaged; or it is neither stored nor trained here.
        """
        where = f"--victim {self.folder or self.recipe.digest}"
        if self.recipe.num_classes != data.classes:
            raise UserError(f"{where}: has {self.recipe.num_classes} classes, and the data set has {data.classes}")
        if self.folder is None and self.recipe.training is None:
            raise UserError(f"{where}: there are no weights beside the recipe, and it says no training")
        target = results.model(self.recipe.digest)
        if self.folder is not None and not models.is_stored(target):
            try:
                models.copy(self.folder, target)
            except ValueError as error:
                raise UserError(f"{where}: {error}") from error
        return Planned(
            recipe=self.recipe,
            name=None,
            where=where,
            weights=None,
            strict=True,
            attacked=False,
            evaluated_on=(),
        )


def spec_of_victims(
    source: Spec, to: Path | None, victims: Sequence[str], overrides: Sequence[str] = (), scale: str | None = None
) -> Spec:
    """Return the spec of the victims to test on.

    Parameters
    ----------
    source
        The spec of the sweep, which has the data set unless `to` is a spec of its own.
    to
        A spec, or a file of victims: a list of entries, or a mapping that has the key `victims` alone.
    victims
        Texts such as ``resnet50:weights.pth``; those of stored models are left out.

    Raises
    ------
    UserError
        A file cannot be read, or an entry is wrong.
    """
    entries = [_entry(text) for text in victims if _stored(text) is None]
    if to is not None:
        content = _content(to)
        if isinstance(content, dict) and set(content) != {"victims"}:
            spec = specs.load(to, overrides, scale=scale)
            if not entries:
                return spec
            return specs.parse({**specs.written(spec), "victims": [*specs.written(spec)["victims"], *entries]})
        entries = [*_listed(content, to), *entries]
    if not entries:
        return source
    written = specs.written(source)
    kept = ("name", "seed", "dataset", "batch_size", "precision", "resources", "confirmations")
    fields: dict[str, Any] = {name: written[name] for name in kept}
    fields |= {"images": {"count": 1, "split": source.images.split}, "attacks": [{"name": "fgm", "norm": "l2"}]}
    fields["victims"] = entries
    return specs.parse(fields, overrides)


def stored_victims(victims: Sequence[str]) -> list[StoredVictim]:
    """Return the victims that are given by a recipe or by the folder of a stored model."""
    return [stored for text in victims if (stored := _stored(text)) is not None]


def _stored(text: str) -> StoredVictim | None:
    """Return the victim at a path of a recipe or of a model's folder; None if the text is neither."""
    path = located(text)
    file = path / "recipe.json" if path.is_dir() else path
    if file.suffix != ".json" or not file.is_file():
        return None
    try:
        recipe = Recipe.from_json(json.loads(read_at_most(file, MOST_BYTES))["recipe"])
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise UserError(f"--victim {text}: is not a stored model's recipe ({error})") from error
    has_weights = (file.parent / "weights.safetensors").is_file()
    return StoredVictim(recipe=recipe, folder=file.parent if has_weights else None)


def _entry(text: str) -> dict[str, Any]:
    """Return ``ARCH:WEIGHTS`` as a spec's entry: a file of weights, or the name of published ones."""
    arch, _, weights = text.rpartition(":")
    if arch and located(weights).is_file():
        return {"arch": arch, "weights": weights}
    if is_hub(text):
        return {"arch": text}
    if arch and weights.isidentifier() and weights.isupper():
        return {"arch": arch, "parameters": {"weights": weights}}
    what = f"there is no file {weights}" if arch else "has no weights"
    raise UserError(f"--victim {text}: {what}; give {_EXAMPLES}")


def _content(path: Path) -> Any:
    try:
        return parsed(read_at_most(path, MOST_BYTES).decode("utf-8"))
    except OSError as error:
        raise UserError(f"--to {path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"--to {path}: cannot be read: it is no text: {error}") from error


def _listed(content: Any, path: Path) -> list[Any]:
    """Return the entries of a file of victims."""
    entries = content["victims"] if isinstance(content, dict) else content
    if not isinstance(entries, list) or not entries:
        raise UserError(f"--to {path}: must be a spec, or a list of victims such as [{{arch: …, weights: …}}]")
    return entries
