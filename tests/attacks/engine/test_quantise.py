"""Rounding to 8 bits: what it costs, and the search for a rounding that succeeds, against every rounding there is."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from eadbench.attacks import EAD, Adversarial, nearest_levels, quantised
from tests.attacks.models import CLASSES, smooth

PIXELS = 8


class Lead(nn.Module):
    """Two classes; class 1 leads by w·x − b."""

    def __init__(self, weights: Tensor, threshold: float) -> None:
        super().__init__()
        self.weights, self.threshold = weights, threshold

    def forward(self, x: Tensor) -> Tensor:
        lead = x.flatten(1).double() @ self.weights - self.threshold
        return torch.stack([torch.zeros_like(lead), lead], dim=1)


def kept(images: Tensor, success: Tensor) -> Adversarial:
    zeros = torch.zeros(len(images))
    figures = dict.fromkeys(("l0", "l1", "l2", "linf", "margin", "const", "epsilon"), zeros)
    return Adversarial(images=images, success=success, unconfirmed=~success, **figures)


def examples(count: int, *, targeted: bool) -> tuple[nn.Module, Tensor, Tensor]:
    model, images = smooth("cnn", dtype=torch.float32), torch.rand(count, 3, 4, 4)
    with torch.no_grad():
        predicted = model(images).argmax(1)
    return model, images, (predicted + 1) % CLASSES if targeted else predicted


def fewest_turns(weights: Tensor, threshold: float, image: Tensor) -> int | None:
    """The least number of values that must leave their nearest level, by trying every rounding."""
    levels = image.double().flatten() * 255
    near = levels.round()
    far = torch.where(levels > near, levels.ceil(), levels.floor())
    turns = [
        sum(choice)
        for choice in product((0, 1), repeat=PIXELS)
        if (torch.where(torch.tensor(choice) > 0, far, near) / 255) @ weights > threshold
    ]
    return min(turns, default=None)


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95, 1.3])
def test_the_search_finds_the_fewest_turns_wherever_a_rounding_succeeds(share: float) -> None:
    generator = torch.Generator().manual_seed(int(100 * share))
    weights = torch.randn(PIXELS, generator=generator, dtype=torch.float64)
    images = torch.rand(20, 1, 2, 4, generator=generator)
    for image in images:
        near = nearest_levels(image).double().flatten() @ weights
        gain = (weights.abs() / 255).sum().item() / 2
        model = Lead(weights, float(near + share * gain))
        found = quantised(
            model,
            kept(image[None], torch.tensor([True])),
            torch.zeros_like(image[None]),
            torch.tensor([1]),
            kappa=torch.zeros(1),
            targeted=True,
            batch_size=4,
            search=True,
        )
        expected = fewest_turns(weights, model.threshold, image)
        assert found.success.item() == (expected is not None)
        turned = (found.images[0] != nearest_levels(image)).sum().item()
        assert turned == (expected or 0)
        assert (found.images[0] - image).abs().max() < 1 / 255 + 1e-6


def test_values_that_the_attack_left_alone_are_rounded_as_in_the_original() -> None:
    original = torch.tensor([0.1003, 0.2003, 0.3003, 0.4003]).view(1, 1, 2, 2)
    image = original.clone()
    image[0, 0, 0, 0] = 0.1501
    weights = torch.ones(4, dtype=torch.float64)
    model = Lead(weights, float(nearest_levels(image).double().sum() + 1.5 / 255))  # needs two turns
    arguments = {"kappa": torch.zeros(1), "targeted": True, "batch_size": 1, "search": True}
    found = quantised(model, kept(image, torch.tensor([True])), original, torch.tensor([1]), **arguments)
    assert not found.success.any() and found.l1.isnan().all()
    model.threshold -= 1.0 / 255  # needs one
    found = quantised(model, kept(image, torch.tensor([True])), original, torch.tensor([1]), **arguments)
    assert found.success.all() and found.l0.item() == 1
    assert found.l1.item() == pytest.approx(abs(round(0.1003 * 255) - 39) / 255)


@pytest.mark.parametrize("targeted", [True, False])
def test_distances_and_margins_of_an_attack_after_rounding(targeted: bool) -> None:
    model, images, labels = examples(12, targeted=targeted)
    attack = EAD(max_iterations=30, binary_search_steps=3, initial_const=1.0, kappa=0.5, targeted=targeted)
    own = attack(model, images, labels)["l1"]
    arguments = {"kappa": torch.full((12,), 0.5), "targeted": targeted, "batch_size": 5}
    plain = quantised(model, own, images, labels, **arguments)
    found = quantised(model, own, images, labels, **arguments, search=True)
    assert own.success.any() and not (plain.success & ~found.success).any() and not (found.success & ~own.success).any()
    levels = 255 * found.images
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)
    delta = (found.images - nearest_levels(images)).flatten(1)
    torch.testing.assert_close(found.l1[found.success], delta.abs().sum(1)[found.success])
    torch.testing.assert_close(found.linf[found.success], delta.abs().amax(1)[found.success])
    assert torch.equal(found.l2.isnan(), ~found.success)
    logits = model(found.images)
    own_logit = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    leads = own_logit - others if targeted else others - own_logit
    assert (leads[found.success] >= 0.5).all()


def test_most_failures_of_rounding_are_mended_by_the_search() -> None:
    model, images, labels = examples(60, targeted=True)
    own = EAD(max_iterations=100, binary_search_steps=6, initial_const=1.0)(model, images, labels)["l1"]
    arguments = {"kappa": torch.zeros(60), "targeted": True, "batch_size": 60}
    plain = quantised(model, own, images, labels, **arguments).success.sum()
    found = quantised(model, own, images, labels, **arguments, search=True).success.sum()
    assert plain < found == own.success.sum()


def test_no_model_is_given_an_empty_batch() -> None:
    class NeverEmpty(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.view(x.size(0), -1)  # which torch refuses for no images

    images = torch.rand(2, 1, 2, 2)
    none = kept(images, torch.tensor([False, False]))
    found = quantised(
        NeverEmpty(), none, images, torch.tensor([1, 1]), kappa=torch.zeros(2), targeted=True, batch_size=4, search=True
    )
    assert not found.success.any() and found.l2.isnan().all()
