"""An ensemble's probabilities are the mean of its members', and its loss is that of Liu et al."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from eadbench import models
from eadbench.attacks import IFGM
from eadbench.attacks.criterion import attack_loss, margin
from eadbench.attacks.fgm import direction
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


class Fixed(torch.nn.Module):
    """Logits that are linear in the image: each row of `logits` (K,) shifts by its own multiple of the mean pixel."""

    def __init__(self, logits: list[float], slopes: list[float]) -> None:
        super().__init__()
        self.logits, self.slopes = torch.tensor(logits).double(), torch.tensor(slopes).double()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pixels = images.flatten(1)
        return self.logits + self.slopes * pixels.mul(torch.linspace(-1, 2, pixels.shape[1]).to(pixels)).sum(1)[:, None]


def test_attacks_descend_the_loss_of_liu_et_al() -> None:
    """I-FGM descends -log Σ αᵢ·softmaxᵢ(x)ₜ; EAD and C&W the margin of log Σ αᵢ·softmaxᵢ(x), not of mean logits."""
    members = [Fixed([3.0, 0.0, -1.0], [0.0, 2.0, -1.0]), Fixed([0.5, 0.0, 9.0], [1.0, -3.0, 0.5])]
    images = torch.linspace(0.2, 0.7, 4).double().view(1, 1, 2, 2).requires_grad_()
    label = torch.tensor([1])
    softmax = sum(0.5 * member(images).exp() / member(images).exp().sum() for member in members)
    assert isinstance(softmax, torch.Tensor)
    loss = -softmax[0, 1].log()
    (slope,) = torch.autograd.grad(loss, images, retain_graph=True)
    way, _ = direction(Ensemble(members), images, label, norm="l2", targeted=True)
    torch.testing.assert_close(way, -slope / slope.norm())
    attack = IFGM(norm="l2", steps=1, epsilons=(0.01,))
    stepped = attack.craft(lambda *_: way, images, label, way, torch.full((1, 1, 1, 1), 0.01))
    torch.testing.assert_close(stepped, images - 0.01 * slope / slope.norm())

    hinge = torch.maximum(softmax[0, 0].log(), softmax[0, 2].log()) - softmax[0, 1].log()
    (expected,) = torch.autograd.grad(hinge, images)
    ours = attack_loss(margin(Ensemble(members)(images), label, targeted=True), torch.zeros(1))
    (found,) = torch.autograd.grad(ours.sum(), images)
    torch.testing.assert_close(ours[0], hinge)
    torch.testing.assert_close(found, expected)
    mean_logits = sum(member(images) for member in members) / 2
    (other,) = torch.autograd.grad(margin(mean_logits, label, targeted=True).sum(), images)  # type: ignore[arg-type]
    assert not torch.allclose(-other / other.norm(), found / found.norm(), atol=0.1)


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
