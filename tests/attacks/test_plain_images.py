"""Images without grey values or without detail: binary, saturated, constant, and of one pixel."""

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eadbench.attacks import COV, EAD, FGM, IFGM, AttackResult, CarliniWagner
from eadbench.attacks.criterion import margin
from tests.attacks import transcription
from tests.attacks.models import Linear, smooth

NOISE = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(11), dtype=torch.float64)
KINDS: dict[str, Tensor] = {
    "binary": NOISE.round(),
    "black and white": torch.stack([torch.zeros_like(NOISE[0]), torch.ones_like(NOISE[0])]),
    "constant": torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)[:, None, None, None].expand(-1, 1, 4, 4),
}
IMAGES = torch.cat(list(KINDS.values()))
PIXELS = torch.tensor([0, 0.25, 0.5, 1], dtype=torch.float64)[:, None, None, None]
SEARCHES: dict[str, tuple[Any, float, dict[str, Any]]] = {
    "ead": (EAD, 0.05, {"max_iterations": 400, "learning_rate": 0.03}),
    "cw": (CarliniWagner, 0.01, {"max_iterations": 200, "learning_rate": 0.05}),
    "cov": (COV, 0.01, {"max_iterations": 200, "learning_rate": 0.05}),
}
"""Each attack, the change of mean distances that the abort may cause on these few images, and its settings."""
GRIDS = {"l1": (1.0, 4.0, 16.0), "l2": (0.5, 1.0, 2.0, 4.0), "linf": (0.1, 0.2, 0.4, 0.8)}
MODES = {"targeted": (True, 0.0), "untargeted": (False, 0.1)}


def pixel_net() -> nn.Module:
    """Return a network of one pixel: class 1 leads above 0.4, class 2 below 0.075."""
    weight = torch.tensor([0.0, 2.0, -6.0], dtype=torch.float64)[:, None, None, None]
    return Linear(weight, torch.tensor([0.0, -0.8, 0.45], dtype=torch.float64))


@cache
def attacked(name: str, mode: str, abort: bool) -> dict[str, AttackResult]:
    """Return the results of an attack, by the kind of image."""
    targeted, kappa = MODES[mode]
    algorithm, _, settings = SEARCHES[name]
    fixed = {"initial_const": 0.1, "binary_search_steps": 3, "targeted": targeted, "kappa": kappa}
    attack = algorithm(abort_early=abort, **fixed, **settings)
    results = {}
    for model, images, kind in ((smooth(), IMAGES, "4x4"), (pixel_net(), PIXELS, "one pixel")):
        order = model(images).topk(2, dim=1).indices
        results[kind] = attack(model, images, order[:, 1 if targeted else 0])
    return results


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SEARCHES)
def test_the_abort_changes_neither_successes_nor_distances(name: str, mode: str) -> None:
    with_abort, without = (attacked(name, mode, abort) for abort in (True, False))
    kinds = torch.arange(len(IMAGES)).split([len(images) for images in KINDS.values()])
    for part, result in without.items():
        for rule, kept in result.items():
            own, distance = with_abort[part][rule], "l1" if rule == "l1" else "l2"
            assert torch.equal(own.success, kept.success)
            assert all(kept.success[rows].any() for rows in (kinds if part == "4x4" else [slice(None)]))
            means = [getattr(each, distance).nanmean().item() for each in (own, kept)]
            assert means[0] == pytest.approx(means[1], rel=SEARCHES[name][1]), (part, rule)


@pytest.mark.parametrize("norm", GRIDS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("attack", "steps"), [(FGM, 1), (IFGM, 3)])
def test_gradient_steps_agree_with_their_transcription(attack: Any, steps: int, mode: str, norm: str) -> None:
    """At every ε of the grid in turn: the first success is the one that is kept."""
    targeted, _ = MODES[mode]
    settings = {"norm": norm, "targeted": targeted} | ({"steps": steps} if steps > 1 else {})
    successes = 0
    for model, images in ((smooth(), IMAGES), (pixel_net(), PIXELS)):
        labels = model(images).topk(2, dim=1).indices[:, 1 if targeted else 0]
        [kept] = attack(epsilons=GRIDS[norm], **settings)(model, images, labels).values()
        for row, (image, label) in enumerate(zip(images, labels, strict=True)):
            crafted = {
                epsilon: x
                for epsilon in GRIDS[norm]
                if (
                    x := transcription.fgm(model, image, int(label), epsilon, steps=steps, norm=norm, targeted=targeted)
                )
                is not None
                and margin(model(x[None]), label[None], targeted=targeted).item() > 0
            }
            assert bool(kept.success[row]) == bool(crafted)
            if crafted:
                successes += 1
                assert kept.epsilon[row].item() == min(crafted)
                torch.testing.assert_close(kept.images[row], crafted[min(crafted)], rtol=0, atol=1e-9)
    assert successes >= 3
