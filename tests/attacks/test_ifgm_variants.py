"""MI-, DI- and TI-FGM, step for step, against a slow transcription of their papers."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from eadbench.attacks import DIFGM, IFGM, MIFGM, TIFGM
from eadbench.attacks.contract.victims import Counting
from eadbench.attacks.ifgm_variants import smaller

EPSILON = 0.2


def net() -> nn.Module:
    """A seeded smooth classifier of images (N, 3, 12, 10)."""
    generator = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(320, 5)).double()
    for parameter in model.parameters():
        parameter.data = 0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return model


def images(count: int = 5) -> Tensor:
    return torch.rand(count, 3, 12, 10, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def padded(x: Tensor, side: float, place: Tensor) -> Tensor:
    """T(x) by torch's own resizing and padding."""
    size = [round(side * length) for length in x.shape[1:]]
    free = [length - part for length, part in zip(x.shape[1:], size, strict=True)]
    top, left = (min(int(share * (room + 1)), room) for share, room in zip(place.tolist(), free, strict=True))
    small = functional.interpolate(x[None], size=size, mode="nearest")[0]
    return functional.pad(small, (left, free[1] - left, top, free[0] - top))


def blurred(gradient: Tensor, kernel: int) -> Tensor:
    """W * g, pixel by pixel, with W of radius 3σ."""
    k, result = kernel // 2, torch.zeros_like(gradient)
    height, width = gradient.shape[1:]
    framed = functional.pad(gradient, (k, k, k, k))
    weights = {(i, j): math.exp(-(i * i + j * j) * 9 / k**2 / 2) for i in range(-k, k + 1) for j in range(-k, k + 1)}
    for (i, j), weight in weights.items():
        result += weight * framed[:, k + i : k + i + height, k + j : k + j + width]
    return result / sum(weights.values())


def by_hand(attack: MIFGM, model: nn.Module, image: Tensor, label: int) -> Tensor:
    """The last iterate at EPSILON."""
    x, g, sign = image, torch.zeros_like(image), -1 if attack.targeted else 1
    for t in range(attack.steps):
        leaf = x.clone().requires_grad_()
        moved = leaf
        if attack.diversity:
            side, place = attack.draw(image[None], torch.tensor([label]), t)
            moved = padded(leaf, side.item(), place[0])
        loss = functional.cross_entropy(model(moved[None]), torch.tensor([label]))
        (gradient,) = torch.autograd.grad(loss, leaf)
        if attack.kernel > 1:
            gradient = blurred(gradient, attack.kernel)
        g = attack.momentum * g + gradient / gradient.abs().sum()
        step = g.sign() if attack.norm == "linf" else g / g.norm()
        x = x + sign * EPSILON / attack.steps * step
        delta = x - image
        if attack.norm == "linf":
            delta = delta.clamp(-EPSILON, EPSILON)
        elif delta.norm() > EPSILON:
            delta = delta * EPSILON / delta.norm()
        x = (image + delta).clamp(0, 1)
    return x


ATTACKS: list[Any] = [
    MIFGM,
    DIFGM,
    TIFGM,
    lambda **given: MIFGM(**given, momentum=0.5),
    lambda **given: DIFGM(**given, momentum=1.0, diversity=1.0),
    lambda **given: TIFGM(**given, momentum=1.0, diversity=0.7, kernel=5),
]


@pytest.mark.parametrize("targeted", [True, False])
@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("make", ATTACKS)
def test_every_step_is_that_of_the_slow_transcription(make: Any, norm: str, targeted: bool) -> None:
    model, originals = net(), images()
    predicted = model(originals).argmax(1)
    labels = (predicted + 1) % 5 if targeted else predicted
    attack = make(norm=norm, steps=3, epsilons=(EPSILON,), targeted=targeted)
    seen: list[Tensor] = []

    class Seeing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.detach())
            logits: Tensor = model(x)
            return logits

    result = attack(Seeing(), originals, labels, batch_size=5)
    tested = seen[-2]  # the last forward pass confirms the images that are kept
    expected = torch.stack([by_hand(attack, model, *row) for row in zip(originals, labels.tolist(), strict=True)])
    torch.testing.assert_close(tested, expected)
    assert torch.equal(result[norm].images[result[norm].success], tested[result[norm].success])


def test_without_momentum_copies_and_kernel_it_is_ifgm() -> None:
    model, originals = net(), images()
    labels = (model(originals).argmax(1) + 1) % 5
    grid = tuple(i / 50 for i in range(1, 20))
    for norm in ("l1", "l2", "linf"):
        plain = IFGM(norm=norm, epsilons=grid)(model, originals, labels)[norm]  # type: ignore[arg-type]
        variant = MIFGM(norm=norm, epsilons=grid, momentum=0.0)(model, originals, labels)[norm]  # type: ignore[arg-type]
        torch.testing.assert_close(variant.images, plain.images)


def test_copies_are_drawn_by_the_share_and_sizes_of_the_paper() -> None:
    attack = DIFGM(norm="linf", diversity=0.4)
    originals = torch.rand(400, 1, 28, 28, generator=torch.Generator().manual_seed(2))
    side, place = attack.draw(originals, torch.zeros(400, dtype=torch.int64), 3)
    assert set((28 * side).round().int().tolist()) == {25, 26, 27, 28}
    assert (side < 1).double().mean().item() == pytest.approx(0.4, abs=0.05)
    assert place.mean(0).tolist() == pytest.approx([0.5, 0.5], abs=0.05)
    again, other = (attack.draw(originals[3:5], torch.zeros(2, dtype=torch.int64), taken)[1] for taken in (3, 4))
    assert torch.equal(again, place[3:5]) and not torch.equal(other, again)


def test_the_image_itself_passes_unchanged() -> None:
    x = images()
    assert torch.equal(smaller(x, torch.ones(5), torch.rand(5, 2)), x)


def test_gradients_pass_through_the_copy_and_are_counted() -> None:
    victim, originals = Counting(net()), images(1)
    result = DIFGM(norm="linf", diversity=1.0, steps=3, epsilons=(1e-6,))(
        victim, originals, torch.tensor([0]), batch_size=1
    )
    assert victim.backwards == result.iterations.item() == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"momentum": -1.0}, "momentum must be finite and not negative, got -1.0"),
        ({"diversity": 1.1}, r"diversity must be in \[0, 1\], got 1.1"),
        ({"kernel": 4}, "kernel must be odd and at least 1, got 4"),
    ],
)
def test_mistakes(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MIFGM(norm="linf", **wrong)
