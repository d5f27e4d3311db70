"""JSMA against a slow transcription of its paper that looks at every pair."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eadbench.attacks import JSMA, jsma
from eadbench.attacks.contract.victims import Counting, Linear
from eadbench.attacks.jsma import salient_pair


def digits_net(classes: int = 10) -> nn.Module:
    """A seeded smooth classifier of images (N, 1, 8, 8)."""
    generator = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.Tanh(), nn.Linear(20, classes)).double()
    for parameter in model.parameters():
        parameter.data = 0.4 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return model


def digits_like(count: int) -> Tensor:
    """Images (N, 1, 8, 8), a third of whose values are 0, and a tenth 1."""
    images = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return (1.6 * images - 0.5).clamp(0, 1)


def by_hand(model: nn.Module, image: Tensor, target: int, theta: float, gamma: float) -> tuple[Tensor | None, int]:
    """Algorithms 2 and 3, pair by pair: the adversarial image or None, and the number of Jacobians."""
    x = image.flatten().clone()
    domain = [p for p in range(len(x)) if (x[p] < 1 if theta > 0 else x[p] > 0)]
    jacobians = 0
    while model(x.view(1, *image.shape)).argmax() != target:
        if jacobians == int(gamma * len(x)) // 2:
            return None, jacobians
        jacobians += 1
        jacobian = torch.autograd.functional.jacobian(lambda x: model(x.view(1, *image.shape))[0], x)
        own, others = jacobian[target].tolist(), (jacobian.sum(0) - jacobian[target]).tolist()
        pair, greatest = None, 0.0
        for p in domain:
            for q in domain:
                alpha, beta = own[p] + own[q], others[p] + others[q]
                right = (alpha > 0 > beta) if theta > 0 else (alpha < 0 < beta)
                if p < q and right and -alpha * beta > greatest:
                    pair, greatest = (p, q), -alpha * beta
        if pair is None:
            return None, jacobians
        for p in pair:
            x[p] = (x[p] + theta).clamp(0, 1)
            if x[p] in (0, 1):
                domain.remove(p)
    return x.view_as(image), jacobians


@pytest.mark.parametrize(("theta", "gamma"), [(1.0, 0.145), (1.0, 0.4), (-1.0, 0.4), (0.4, 0.5)])
def test_every_image_is_that_of_the_slow_transcription(theta: float, gamma: float) -> None:
    model, images = digits_net(), digits_like(6)
    targets = (model(images).argmax(1) + 1 + torch.arange(6)) % 10
    result = JSMA(theta=theta, gamma=gamma)(model, images, targets, batch_size=4)
    outcomes = [by_hand(model, *row, theta, gamma) for row in zip(images, targets.tolist(), strict=True)]
    assert result["l0"].success.tolist() == [x is not None for x, _ in outcomes]
    assert 0 < result["l0"].success.sum() < 6
    assert result.iterations.tolist() == [2 * jacobians for _, jacobians in outcomes]
    for row, (x, _) in enumerate(outcomes):
        assert torch.equal(result["l0"].images[row], images[row] if x is None else x)


@pytest.mark.parametrize("pairs", [2**22, 1, 40])
@pytest.mark.parametrize("shape", ["independent", "opposed", "alike", "few levels"])
def test_the_search_finds_the_best_of_all_pairs(shape: str, pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the block, and where every value is on the front of maxima (opposed), or values are equal."""
    monkeypatch.setattr(jsma, "PAIRS", pairs)
    generator = torch.Generator().manual_seed(1)
    gain, noise = torch.randn(2, 12, 40, generator=generator, dtype=torch.float64)
    loss = {"independent": noise, "opposed": 1 - gain, "alike": gain + 0.01 * noise, "few levels": noise.round()}[shape]
    gain = gain.round() if shape == "few levels" else gain
    free = torch.rand(12, 40, generator=generator) < torch.linspace(0, 1, 12)[:, None]
    pair, exists = salient_pair(gain, loss, free)
    for row in range(12):
        scores = {
            (p, q): (gain[row, p] + gain[row, q]) * (loss[row, p] + loss[row, q])
            for p in range(40)
            for q in range(p)
            if free[row, p] and free[row, q] and gain[row, p] + gain[row, q] > 0 < loss[row, p] + loss[row, q]
        }
        assert exists[row] == bool(scores)
        if scores:
            p, q = sorted(pair[row].tolist(), reverse=True)
            torch.testing.assert_close(scores[p, q], max(scores.values()))


def test_without_an_admissible_pair_nothing_changes() -> None:
    """β is never negative where all logits rise together: the row fails, and no pixel takes the blame."""
    weight = torch.ones(2, 1, 3, 3) * torch.tensor([2.0, 1.0]).view(2, 1, 1, 1)
    victim = Counting(Linear(weight, torch.tensor([1.0, 0.0])))
    result = JSMA(gamma=1.0)(victim, torch.full((1, 1, 3, 3), 0.5), torch.tensor([1]))
    assert not result["l0"].success.any() and result.iterations.tolist() == [2]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"theta": 0.0}, r"theta must be in \[-1, 1\] and not 0, got 0.0"),
        ({"gamma": 0.0}, r"gamma must be in \(0, 1\], got 0.0"),
        ({"targeted": False}, "JSMA is targeted only"),
    ],
)
def test_mistakes(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        JSMA(**wrong)
