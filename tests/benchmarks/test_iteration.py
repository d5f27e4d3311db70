"""An iteration of a search over c is one graph: nothing in it waits for the device or leaves torch."""

import pytest
import torch

from benchmarks.iteration import compiled, started
from eadbench.attacks import EAD, CarliniWagner
from eadbench.attacks.contract.victims import labels_to_attack, small_images, small_net

ATTACKS = [
    EAD(max_iterations=20, initial_const=1.0),
    CarliniWagner(max_iterations=20, initial_const=1.0, learning_rate=0.1),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.LABEL)
def test_torch_traces_it_in_one_graph(attack: EAD | CarliniWagner) -> None:
    images, net = small_images(5), small_net()
    targets = labels_to_attack(net, images, targeted=True)
    with (
        started(attack, net, images, targets) as eager,
        started(attack, net, images, targets) as traced,
        compiled(traced, backend="eager") as run,
    ):
        for _ in range(12):
            eager.run()
            run()
        assert eager.rows.best.isfinite().any()
        for own, expected in zip(traced.rows.tensors(), eager.rows.tensors(), strict=True):
            torch.testing.assert_close(own, expected, rtol=1e-5, atol=1e-7, equal_nan=True)
