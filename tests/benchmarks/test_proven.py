"""The proven least distance of an adversarial example, against closed forms and a grid over all images."""

import pytest
import torch
from torch import Tensor, nn

from benchmarks.proven import nearest
from eadbench.attacks.distances import NORMS

STEP = 1 / 400
LINE = torch.linspace(0, 1, 401)
GRID = torch.cartesian_prod(LINE, LINE).view(-1, 1, 1, 2).double()
BOTH_NORMS = pytest.mark.parametrize("norm", ["l1", "linf"])


def network(first: Tensor, bias: Tensor, last: Tensor, offset: Tensor) -> nn.Sequential:
    """Return a network with these weights."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(*first.shape[::-1]), nn.ReLU(), nn.Linear(*last.shape[::-1]))
    for parameter, value in zip(net.parameters(), (first, bias, last, offset), strict=True):
        parameter.data = value
    return net.requires_grad_(False)


@pytest.mark.parametrize(
    ("image", "norm", "distance"),
    [
        ((0.5, 0.4), "l1", 1.4 / 3),
        ((0.5, 0.4), "linf", 1.4 / 4),
        ((0.1, 0.9), "l1", 0.1 + 0.4),  # x₁ is soon 0
        ((0.1, 0.9), "linf", 0.4),
    ],
)
def test_where_every_unit_is_active(image: tuple[float, float], norm: str, distance: float) -> None:
    """The lead of class 0 is 3·x₁ + x₂ - 0.5."""
    net = network(torch.eye(2), torch.ones(2), torch.tensor([[3.0, 1.0], [0.0, 0.0]]), torch.tensor([-4.5, 0.0]))
    solution = nearest(net, torch.tensor(image).view(1, 1, 1, 2), [1], norm)
    assert solution is not None and solution.distance == pytest.approx(distance, abs=1e-5)


@BOTH_NORMS
@pytest.mark.parametrize("seed", range(8))
def test_against_every_image(seed: int, norm: str) -> None:
    """No image of a fine grid is nearer, and one is hardly further; seeds 0 and 3 have no adversarial example."""
    generator = torch.Generator().manual_seed(seed)
    first, last, offset, x = (torch.randn(shape, generator=generator) for shape in ((2, 2), (3, 2), (3,), (2,)))
    net, image = network(first, -first.sum(1) / 2, last, offset / 10), x.sigmoid().view(1, 1, 1, 2)
    classes = net.double()(GRID).argmax(1)
    label, *targets = net(image.double())[0].argsort(descending=True).tolist()
    distances = NORMS[norm](GRID - image).masked_fill(classes == label, torch.inf)
    solution = nearest(net, image, targets, norm)
    if seed in (0, 3):
        assert solution is None and distances.isinf().all()
        return
    assert solution is not None
    assert solution.bound <= solution.distance <= distances.min() + 1e-6
    assert distances.min() <= solution.distance + 2 * STEP
    again = nearest(net, image, targets[::-1], norm)  # the cuts are others
    assert again is not None and again.distance == pytest.approx(solution.distance, rel=2e-4)
