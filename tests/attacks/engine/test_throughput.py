"""The fastest batch size on devices of known speed and memory."""

import torch
from torch import Tensor, nn

from eadbench.attacks.engine.throughput import fastest_batch_size
from tests.attacks.models import Crowded


class Paced(nn.Module):
    """Takes a second of its own clock for every `lanes` rows, or part of them."""

    def __init__(self, lanes: int) -> None:
        super().__init__()
        self.lanes, self.seconds = lanes, 0.0

    def forward(self, x: Tensor) -> Tensor:
        self.seconds += -(-len(x) // self.lanes)
        return x.flatten(1)

    def clock(self) -> float:
        return self.seconds


def test_doubles_while_it_pays() -> None:
    model = Paced(32)
    assert fastest_batch_size(model, torch.zeros(1, 2, 2), clock=model.clock) == 32


def test_stops_where_memory_does() -> None:
    model = Paced(1024)
    assert fastest_batch_size(Crowded(model, 100), torch.zeros(1, 2, 2), clock=model.clock) == 64


def test_stops_at_the_most() -> None:
    model = Paced(1024)
    assert fastest_batch_size(model, torch.zeros(1, 2, 2), most=16, clock=model.clock) == 16
