"""Attacks say how far they have come while they run."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from eadbench.attacks import APGD, DDN, EAD, FGM, IFGM, CarliniWagner
from eadbench.attacks.engine.progress import advance, follow, tick

ATTACKS: Mapping[str, Any] = {
    "EAD": EAD(binary_search_steps=3, max_iterations=30, targeted=False),
    "C&W": CarliniWagner(binary_search_steps=3, max_iterations=30, targeted=False, abort_early=False),
    "FGM": FGM(norm="l2", targeted=False),
    "I-FGM": IFGM(norm="linf", steps=3, targeted=False),
    "DDN": DDN(steps=20, targeted=False),
    "APGD": APGD(norm="l2", steps=5, search_steps=4, targeted=False),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_shares_rise_to_the_end(attack: Any) -> None:
    images = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
    labels = model(images).argmax(1)
    shares: list[float] = []
    with follow(shares.append, seconds=0.0):
        followed = attack(model, images, labels, batch_size=8)
    assert len(shares) >= 3
    assert all(0 <= share <= 1 for share in shares) and shares == sorted(shares)
    assert shares[-1] > 0.6
    alone = attack(model, images, labels, batch_size=8)
    rule = next(iter(alone))
    assert torch.equal(alone[rule].images, followed[rule].images)


def test_a_follower_may_end_the_attack_and_is_called_at_its_own_pace() -> None:
    class Enough(Exception):
        pass

    def stop(share: float) -> None:
        raise Enough

    with pytest.raises(Enough), follow(stop, seconds=0.0):
        advance(lambda: 0.5)
    with follow(stop, seconds=60.0):
        advance(lambda: 0.5)
        tick()
    advance(lambda: 1 / 0)  # nobody follows
