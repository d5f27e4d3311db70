"""The fastest batch size on devices of known speed and memory."""

import time

import torch
from torch import Tensor, nn

from eadbench.attacks.engine.throughput import fastest_batch_size
from tests.attacks.models import Crowded


class Paced(nn.Module):
    """Takes 10 ms for every `lanes` rows, or part of them."""

    def __init__(self, lanes: int) -> None:
        super().__init__()
        self.lanes = lanes

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(0.01 * -(-len(x) // self.lanes))
        return x.flatten(1)


def test_doubles_while_it_pays() -> None:
    assert fastest_batch_size(Paced(32), torch.zeros(1, 2, 2)) == 32


def test_stops_where_memory_does() -> None:
    assert fastest_batch_size(Crowded(Paced(1024), 100), torch.zeros(1, 2, 2)) == 64


def test_stops_at_the_most() -> None:
    assert fastest_batch_size(Paced(1024), torch.zeros(1, 2, 2), most=16) == 16
