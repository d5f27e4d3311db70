"""A network that is normalised by its recipe gives what it gives on images that are normalised by hand."""

from pathlib import Path
from typing import Any

import pytest
import torch

from eadbench import models
from eadbench.harness.errors import UserError
from eadbench.harness.results.folder import Results
from tests.sweeps import run, small

MEAN, STD = [0.25], [0.5]


def recipe(**normalise: Any) -> models.Recipe:
    fields: dict[str, Any] = {"arch": "digits", "parameters": {}, "num_classes": 10, "trained_on": "digits"}
    return models.Recipe(
        **fields, defense={"name": "none"}, training=None, weights="0" * 64, normalise=normalise or None
    )


def test_the_input_is_normalised(tmp_path: Path) -> None:
    model, plain = (
        models.build_network(recipe(mean=MEAN, std=STD)).eval(),
        models.build("digits", num_classes=10).eval(),
    )
    torch.save(plain.state_dict(), tmp_path / "w.pt")
    models.load_weights(model, tmp_path / "w.pt")
    images = torch.rand(4, 1, 8, 8)
    expected = plain((images - 0.25) / 0.5)
    torch.testing.assert_close(model(images), expected)
    models.save(tmp_path / "stored", recipe(mean=MEAN, std=STD), model, {})
    loaded, stored, _ = models.load(tmp_path / "stored")
    assert stored.normalise == {"mean": MEAN, "std": STD}
    torch.testing.assert_close(loaded(images), expected)
    assert models.input_facts(loaded, (1, 8, 8))["preprocessing"] == "(x - [0.25]) / [0.5], by channel"


def test_it_is_part_of_the_identity_only_where_it_is_given() -> None:
    plain = recipe()
    assert "normalise" not in plain.to_json()
    assert len({plain.digest, recipe(mean=MEAN, std=STD).digest, recipe(mean=MEAN, std=[0.4]).digest}) == 3


@pytest.mark.parametrize(
    ("normalise", "message"),
    [
        ({"mean": [0.5]}, "recipe.normalise must have mean and std, has mean"),
        ({"mean": [0.5, 0.5], "std": [1.0]}, "recipe.normalise must have a number for each channel"),
        ({"mean": [0.5], "std": [0.0]}, "recipe.normalise.std must be above 0"),
    ],
)
def test_mistakes(normalise: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recipe(**normalise)


def test_in_a_spec(tmp_path: Path) -> None:
    training = {"epochs": 2, "batch_size": 32, "learning_rate": 3e-3}
    attacks = [{"name": "fgm", "norm": "linf", "epsilons": [0.1]}]
    victim = {"arch": "digits", "training": training, "normalise": {"mean": MEAN, "std": STD}}
    run(small(victims=[victim], attacks=attacks, images={"count": 1}), tmp_path)
    results = Results(tmp_path)
    assert results.spec().victims[0].normalise == {"mean": MEAN, "std": STD}
    [stored] = results.victims()[1]
    assert stored.accuracy is not None and stored.accuracy > 0.5
    with pytest.raises(UserError, match=r"victims\[0\]\.normalise\.std\[0\]: must be greater than 0"):
        small(victims=[victim | {"normalise": {"mean": MEAN, "std": [0]}}])
    with pytest.raises(UserError, match=r"victims\[0\]: normalise must have a number for each channel"):
        run(small(victims=[victim | {"normalise": {"mean": [0.5, 0.5], "std": STD}}]), tmp_path / "two")
