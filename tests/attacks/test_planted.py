"""Planted examples: they are adversarial by construction, attacks find them, and a weakened attack does not."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eadbench.attacks import APGD, DDN, EAD, IFGM, distances
from eadbench.attacks.planted import planted, search_planted


def network() -> nn.Module:
    """A convolutional network with random weights: the test looks at its features alone."""
    torch.manual_seed(1)
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(8 * 9, 24), nn.Tanh(), nn.Linear(24, 10)).eval()


def images(count: int) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.1), ("l2", 1.0), ("l1", 5.0)])
def test_the_image_is_of_class_0_and_a_point_of_the_ball_of_class_1(norm: str, epsilon: float) -> None:
    model, generator = network(), torch.Generator().manual_seed(0)
    for image in images(3):
        binary = planted(model, image, norm=norm, epsilon=epsilon, generator=generator)
        assert binary is not None and binary(image[None]).argmax(1).item() == 0
        logits = binary(binary.example[None])[0]
        assert (logits[1] - logits[0]).item() == pytest.approx(2.0, abs=0.05)
        assert distances.NORMS[norm](binary.example[None] - image).item() <= epsilon * 1.0001


FOUND: dict[str, tuple[Any, str, float]] = {
    "APGD": (APGD(norm="linf", epsilon=0.1, steps=20, targeted=False), "linf", 0.1),
    "I-FGM": (IFGM(norm="linf", steps=10, epsilons=(0.025, 0.05, 0.075, 0.1), targeted=False), "linf", 0.1),
    "DDN": (DDN(steps=50), "l2", 1.0),
    "EAD": (EAD(max_iterations=60, binary_search_steps=3, initial_const=1.0), "l1", 5.0),
}


@pytest.mark.parametrize("name", FOUND)
def test_attacks_find_what_chance_does_not(name: str) -> None:
    attack, norm, epsilon = FOUND[name]
    search = search_planted(attack, network(), images(5), norm=norm, epsilon=epsilon)
    assert len(search.found) == 5 - search.left_out >= 4
    assert search.found.float().mean() >= 0.95 and search.by_chance.float().mean() <= 0.5


WEAK: dict[str, tuple[Any, str, float]] = {
    "few iterations": (EAD(max_iterations=3, binary_search_steps=1), "l1", 5.0),
    "steps that are too short": (IFGM(norm="linf", steps=10, epsilons=(0.005,), targeted=False), "linf", 0.1),
}


@pytest.mark.parametrize("name", WEAK)
def test_a_weakened_attack_does_not_find_them(name: str) -> None:
    attack, norm, epsilon = WEAK[name]
    search = search_planted(attack, network(), images(5), norm=norm, epsilon=epsilon)
    assert search.found.float().mean() <= 0.5


def test_a_point_beyond_the_ball_does_not_count() -> None:
    attack = DDN(steps=100)
    near = search_planted(attack, network(), images(4), norm="l2", epsilon=1.0)
    [binary] = [planted(network(), images(1)[0], norm="l2", epsilon=1.0, generator=torch.Generator().manual_seed(0))]
    assert binary is not None and near.found.any()
    kept = attack(binary, images(1), torch.tensor([1]))["l2"]
    distance = distances.l2(kept.images - images(1)).item()
    tight = search_planted(attack, network(), images(1), norm="l2", epsilon=1.0)
    assert tight.found.item() == (distance <= 1.001)


def test_a_model_without_a_linear_layer_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 8), nn.Flatten())
    with pytest.raises(ValueError, match=r"the model has no torch\.nn\.Linear as its last layer"):
        search_planted(DDN(), model, images(1), norm="l2", epsilon=1.0)
