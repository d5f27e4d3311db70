"""Squeezers against SciPy and their formulas, and networks behind them in a sweep."""

from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.ndimage import median_filter

from eadbench import models
from eadbench.defenses.squeezed import Squeezed
from eadbench.defenses.squeezers import bit_depth, jpeg, median, straight_through
from eadbench.harness.datasets import load
from eadbench.harness.results.folder import Results
from eadbench.harness.results.model_files import load_victim, read_model
from tests.sweeps import run, small

IMAGES = torch.rand(3, 3, 9, 8, generator=torch.Generator().manual_seed(0))


def test_bit_depth() -> None:
    values = torch.tensor([0.0, 0.1, 0.49, 0.51, 0.9, 1.0])
    assert bit_depth(values, 1).tolist() == [0, 0, 0, 1, 1, 1]
    torch.testing.assert_close(bit_depth(values, 2) * 3, torch.tensor([0.0, 0, 1, 2, 3, 3]))


@pytest.mark.parametrize("size", [2, 3, 5, 12])
def test_the_median_is_that_of_scipy(size: int) -> None:
    expected = median_filter(IMAGES.numpy(), size=(1, 1, size, size), mode="reflect")
    assert torch.equal(median(IMAGES, size), torch.from_numpy(expected))


def test_jpeg_loses_more_at_a_lower_quality() -> None:
    smooth = torch.linspace(0, 1, 32).view(1, 1, 1, 32).expand(2, 3, 32, 32) * torch.rand(2, 3, 1, 1)
    errors = [(jpeg(smooth, quality) - smooth).abs().mean().item() for quality in (10, 50, 95)]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.01
    assert jpeg(IMAGES[:, :1], 75).shape == (3, 1, 9, 8)


def test_the_gradient_is_that_of_the_identity() -> None:
    x = IMAGES.clone().requires_grad_()
    squeezed = straight_through(lambda images: bit_depth(images, 1), x)
    assert torch.equal(squeezed, IMAGES.round())
    weight = torch.rand_like(IMAGES)
    (gradient,) = torch.autograd.grad((squeezed * weight).sum(), x)
    assert torch.equal(gradient, weight)


def test_squeezers_stand_in_the_order_of_the_docstring() -> None:
    both = Squeezed(bits=1, median=3).squeeze(IMAGES)
    assert torch.equal(both, median(IMAGES, 3).round())


def test_victims_of_a_sweep_are_behind_their_squeezer_or_have_bounded_units(tmp_path: Path) -> None:
    training = {"epochs": 2, "batch_size": 32, "learning_rate": 3e-3}
    defenses: list[Any] = [{"squeezed": {"bits": [1, 3]}}, {"brelu_augmentation": {"sigma": 0.1}}]
    victims = [{"arch": "digits", "training": training, "defense": defense} for defense in defenses]
    attacks = [{"name": "fgm", "norm": "l2", "epsilons": [1, 4]}]
    run(small(victims=victims, attacks=attacks, targets="untargeted", images={"count": 2}), tmp_path)
    results, images = Results(tmp_path), load("digits").test.images(range(20))
    for victim in results.victims()[1]:
        stored = read_model(results.model(victim.digest))
        loaded, network = load_victim(stored)[0], models.load(stored)[0]
        if victim.defense == "squeezed":
            bits = victim.defense_parameters["bits"]
            torch.testing.assert_close(loaded(images), network(bit_depth(images, bits)))
        else:
            assert not any(isinstance(module, torch.nn.ReLU) for module in loaded.modules())
            assert not torch.allclose(loaded(images), network(images))
            assert (loaded(images).argmax(1) == load("digits").test.labels[:20]).float().mean() > 0.5
