"""What a result says of itself."""

import pytest
import torch
from torch import nn

from eadbench.attacks import EAD, FGM


@pytest.mark.filterwarnings("ignore:every image has its target class")
def test_a_result_is_a_line_for_each_rule() -> None:
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)), torch.full((3, 1, 2, 2), 0.5)
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, 1, 1, 1], [-1, -1, -1, -1]]))
    fgm = FGM(norm="linf", epsilons=(0.6,))(model, images, torch.tensor([1, 1, 1]))
    assert repr(fgm) == "AttackResult of 3 examples, 3 gradient evaluations\nlinf: 0 of 3 succeed"
    ead = EAD(binary_search_steps=2, max_iterations=5)(model, 0.1 * images, torch.tensor([0, 0, 0]))
    lines = repr(ead).split("\n")
    assert [line.partition(":")[0] for line in lines[1:]] == ["en", "l1", "l2"]
    assert lines[1] == "en: 3 of 3 succeed; mean L1 0, L2 0, L∞ 0"
    assert len(repr(ead)) < 300
