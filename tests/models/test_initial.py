"""Initial weights: Keras's for Carlini and Wagner's networks, torch's for others, by name for any."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from eadbench import models
from eadbench.defenses.undefended import initial_model
from eadbench.models import Recipe, Training
from tests.models.test_models import recipe

CW = {"arch": "cw_mnist", "trained_on": "mnist"}


@pytest.mark.parametrize(("arch", "init"), [("cw_mnist", "glorot"), ("cw_cifar10", "glorot"), ("digits", "torch")])
def test_each_architecture_has_its_default(arch: str, init: str) -> None:
    training = recipe(arch=arch).training
    assert training is not None and training.init == init


def test_glorot_is_uniform_with_zero_biases() -> None:
    """Within ±sqrt(6 / (fan in + fan out)), whose variance is a third of the bound squared."""
    network = initial_model(recipe(**CW))
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    assert len(layers) == 7
    for layer in layers:
        field = layer.weight[0, 0].numel()
        bound = (6 / (field * (layer.weight.shape[0] + layer.weight.shape[1]))) ** 0.5
        assert layer.weight.abs().max().item() <= bound
        assert layer.weight.abs().max().item() > 0.98 * bound
        assert layer.weight.var().item() == pytest.approx(bound**2 / 3, rel=0.15)
        assert layer.bias is not None and not layer.bias.any()


@pytest.mark.parametrize("given", [{"arch": "digits"}, {**CW, "training": Training(epochs=1, init="torch")}])
def test_torchs_own_are_left_as_they_are(given: dict[str, Any]) -> None:
    network = initial_model(recipe(**given))
    with models.seeded(0):
        own = models.build(given["arch"], num_classes=10)
    assert all(torch.equal(weight, network.state_dict()[name]) for name, weight in own.state_dict().items())


def test_only_glorot_enters_the_digest() -> None:
    """So that models that were trained before there was a choice, from torch's weights, keep their names."""
    glorot, own = recipe(**CW), recipe(**CW, training=Training(epochs=1, init="torch"))
    assert own.digest == "f61568bca344f917"
    assert glorot.digest != own.digest
    assert "init" not in own.to_json()["training"] and glorot.to_json()["training"]["init"] == "glorot"
    assert recipe(training=Training(epochs=1, init="torch")) == recipe()
    for each in (glorot, own):
        assert Recipe.from_json(each.to_json()) == each


def test_glorot_does_not_replace_published_weights() -> None:
    with pytest.raises(ValueError, match=r"training\.init: glorot would replace the published weights"):
        recipe(arch="resnet18", parameters={"weights": "IMAGENET1K_V1"}, training=Training(epochs=1, init="glorot"))


def test_the_seed_draws_them() -> None:
    first, again, other = (
        initial_model(recipe(**CW, training=replace(Training(epochs=1), seed=seed))).state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["features.0.weight"], other["features.0.weight"])
