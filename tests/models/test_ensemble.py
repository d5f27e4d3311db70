"""An ensemble's probabilities are the mean of its members', and its loss is that of Liu et al."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from eadbench import models
from eadbench.models import Ensemble, Recipe, Training


def member(seed: int, **changes: Any) -> Recipe:
    fields = {
        "arch": "digits",
        "parameters": {},
        "num_classes": 10,
        "trained_on": "digits",
        "defense": {"name": "none"},
    }
    return Recipe(**{**fields, "training": Training(epochs=1, seed=seed), **changes})


def ensemble(*members: Recipe, **changes: Any) -> Recipe:
    return member(0, arch="ensemble", training=None, members=[each.to_json() for each in members], **changes)


def test_probabilities_are_the_mean() -> None:
    recipe = ensemble(member(0), member(1), member(2))
    network = models.build_network(recipe).eval()
    images, labels = torch.rand(5, 1, 8, 8), torch.arange(5)
    assert isinstance(network, Ensemble) and len(network.members) == 3
    mean = torch.stack([each(images).softmax(1) for each in network.members]).mean(0)
    torch.testing.assert_close(network(images), mean.log())
    torch.testing.assert_close(functional.cross_entropy(network(images), labels), -mean[labels, labels].log().mean())


def test_certain_members_leave_finite_logits() -> None:
    """The logarithm of the mean is taken without the exponential, which would be 0."""
    certain = [torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3)) for _ in range(2)]
    for network in certain:
        torch.nn.init.constant_(network[1].weight, 0.0)
        network[1].bias.data = torch.tensor([1000.0, 0.0, -1000.0])
    logits = Ensemble(certain)(torch.rand(1, 1, 2, 2))
    torch.testing.assert_close(logits, torch.tensor([[0.0, -1000.0, -2000.0]]))


def test_it_is_stored_and_named_by_its_members(tmp_path: Path) -> None:
    recipe = ensemble(member(0), member(1))
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert len({recipe.digest, ensemble(member(0), member(2)).digest, ensemble(member(1), member(0)).digest}) == 3
    network = models.build_network(recipe).eval()
    models.save(tmp_path, recipe, network, {})
    loaded, again, _ = models.load(tmp_path)
    images = torch.rand(2, 1, 8, 8)
    assert again == recipe
    torch.testing.assert_close(loaded(images), network(images))
    assert "members" not in member(0).to_json()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ensemble(member(0)), "needs two members or more, all different"),
        (lambda: ensemble(member(0), member(0)), "needs two members or more, all different"),
        (lambda: ensemble(member(0), member(1), weights="0" * 64), "is not trained itself, and has no weights"),
        (lambda: ensemble(member(0), ensemble(member(0), member(1))), "must not be an ensemble"),
        (lambda: ensemble(member(0), member(1, num_classes=9)), "members must have 10 classes, got 9"),
    ],
)
def test_mistakes(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
