"""FAB against a slow transcription, on planes, at a fixed ε, and mistakes."""

from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from eadbench.attacks import FAB
from eadbench.attacks.contract.victims import half_space, labels_to_attack, small_images, small_net
from eadbench.attacks.distances import NORMS
from eadbench.attacks.engine.hyperplane import step_to_hyperplane
from tests.attacks.test_apgd import Noting

Norm = Literal["l1", "l2", "linf"]
ALL: tuple[Norm, ...] = ("l1", "l2", "linf")
DUALS = {"l1": torch.inf, "l2": 2, "linf": 1}


def transcription(
    model: torch.nn.Module, image: Tensor, label: int, aims: list[int], norm: Norm, steps: int
) -> tuple[Tensor, float]:
    """Algorithm 1 for one image (1, C, H, W) from the image itself, with the step towards the nearest of `aims`."""
    x, best, least = image.clone(), image, torch.inf
    for _ in range(steps):
        x = x.requires_grad_()
        logits = model(x)[0]
        planes = []
        for aim in aims:
            f = logits[aim] - logits[label]
            (w,) = torch.autograd.grad(f, x, retain_graph=True)
            planes.append((abs(f.item()) / torch.linalg.vector_norm(w, ord=DUALS[norm]).item(), -f.detach(), w))
        x = x.detach()
        _, gap, w = min(planes, key=lambda plane: plane[0])
        from_x = step_to_hyperplane(x, w, gap[None], norm)
        from_image = step_to_hyperplane(image, w, (gap + (w * (x - image)).sum())[None], norm)
        near, far = NORMS[norm](from_x).item(), NORMS[norm](from_image).item()
        alpha = min(near / (near + far), 0.1)
        x = ((1 - alpha) * (x + 1.05 * from_x) + alpha * (image + 1.05 * from_image)).clamp(0, 1)
        with torch.no_grad():
            if model(x)[0].argmax() != label:
                if (distance := NORMS[norm](x - image).item()) < least:
                    best, least = x, distance
                x = image + 0.9 * (x - image)
    return best, least


@pytest.mark.parametrize("norm", ALL)
@pytest.mark.parametrize("aim", ["each", "nearest"])
def test_it_equals_the_transcription(norm: Norm, aim: Literal["each", "nearest"]) -> None:
    model, images = small_net().double(), small_images(4).double()
    labels = labels_to_attack(model, images, targeted=False)
    attack = FAB(norm=norm, steps=12, targets=2, aim=aim, targeted=False)
    kept = attack(model, images, labels, batch_size=3)[norm]
    for i, label in enumerate(labels.tolist()):
        first, second = [c for c in model(images[i, None])[0].argsort(descending=True).tolist() if c != label][:2]
        runs = [[first], [second]] if aim == "each" else [[first, second]]
        found = [transcription(model, images[i, None], label, aims, norm, 12) for aims in runs]
        image, least = min(found, key=lambda run: run[1])
        assert kept.success[i]
        assert getattr(kept, norm)[i].item() == pytest.approx(least, rel=1e-6)
        torch.testing.assert_close(kept.images[i], image[0])


@pytest.mark.parametrize("norm", ALL)
def test_restarts_begin_at_random_within_half_of_epsilon(norm: Norm) -> None:
    victim, images = Noting(small_net()), small_images(1)
    labels = labels_to_attack(victim, images, targeted=False)
    results = []
    for restarts in (1, 3):
        victim.queries.clear()
        attack = FAB(norm=norm, epsilon=1e-3, steps=5, targets=1, restarts=restarts, targeted=False)
        results.append(attack(victim, images, labels))
    assert (results[1].iterations == 3 * results[0].iterations).all()
    starts = [x for x in victim.queries[1:] if NORMS[norm](x - images) <= 0.51e-3]
    moved = [NORMS[norm](x - images) for x in starts]
    assert len(starts) == 5, "the image itself: looked at, and begun and returned; and two starts at random"
    assert [bool(each > 0.2e-3) for each in moved] == [False, False, True, True, False]
    assert not torch.equal(starts[2], starts[3])


@pytest.mark.parametrize("norm", ALL)
def test_at_an_epsilon_what_lies_beyond_fails(norm: Norm) -> None:
    model, images, least = half_space(norm, 0.0)
    middle = float((least[1] + least[2]) / 2)
    labels = torch.zeros(4, dtype=torch.int64)
    result = FAB(norm=norm, epsilon=middle, targeted=False)(model, images, labels)
    assert result[norm].success.tolist() == (least < middle).tolist() == [True, True, False, False]
    assert (getattr(result[norm], norm)[:2] <= middle).all()
    assert result.iterations[0] < 20 < result.iterations[3]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"norm": "l0"}, "norm must be one of l1, l2, linf"),
        ({"aim": "all"}, "aim must be one of each, nearest"),
        ({"targets": 0}, "targets must be at least 1, got 0"),
        ({"alpha_max": 2.0}, r"alpha_max must be in \[0, 1\], got 2\.0"),
        ({"retreat": 1.0}, r"retreat must be in \[0, 1\), got 1\.0"),
        ({"epsilon": -1.0}, r"epsilon must be above 0, got -1\.0"),
    ],
)
def test_mistakes(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FAB(**{"norm": "l2"} | wrong)
