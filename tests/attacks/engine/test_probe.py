"""The probe: each fault of a model is found, and a model without fault has none."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from eadbench.attacks import probe
from tests.attacks.models import smooth

IMAGES = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(1))
BINARY = IMAGES.round()


class Made(nn.Module):
    """A model of a function of the smooth network and the images."""

    def __init__(self, function: Callable[[nn.Module, Tensor], object]) -> None:
        super().__init__()
        self.network, self.function = smooth(dtype=torch.float32), function

    def forward(self, x: Tensor) -> object:
        return self.function(self.network, x)


@dataclass
class Output:
    logits: Tensor


def _in_place(network: nn.Module, x: Tensor) -> Tensor:
    return network(x.sub_(0.5))  # type: ignore[no-any-return]


def _scaled_by_batch(network: nn.Module, x: Tensor) -> Tensor:
    return network(x - x.mean(0))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("function", "refusal"),
    [
        (lambda net, x: (net(x),), "it must return a tensor of logits (N, K), got a tuple"),
        (lambda net, x: {"z": net(x)}, "it must return a tensor of logits (N, K), got a dict"),
        (lambda net, x: Output(net(x)), "it returns a Output; return its .logits"),
        (lambda net, x: net(x).argmax(1), "it must return logits as floats, got torch.int64"),
        (lambda net, x: net(x)[:, :, None], "it must return logits (6, K) for 6 images, got (6, 4, 1)"),
        (lambda net, x: net(x).to_sparse(), "it must return a dense tensor of logits, got torch.sparse_coo"),
        (lambda net, x: net(x).squeeze(), "it returns (4,) for one image; keep the dimension of the batch"),
        (lambda net, x: net(x.reshape(6, 1, 4, 4)), "it does not take one image alone of 1x4x4: RuntimeError:"),
        (lambda net, x: net(x) + x.requires_grad, "it returns other logits when gradients are taken"),
        (lambda net, x: net(x.numpy() if x.requires_grad else x), "it does not take 6 images of 1x4x4: "),
        (lambda net, x: net(x)[:, :1], "it returns one logit; attacks need one for each class"),
        (lambda net, x: net(x)[:, :3], "it returns 3 logits for 4 classes; give a network with a logit for each"),
        (lambda net, x: net(x).repeat(1, 2), "it returns 8 logits for 4 classes; give class_map"),
        (_in_place, "it writes to its input; normalise with (x - mean) / std instead of in place"),
        (lambda net, x: net(x) / 0, "its logits are not finite on 6 of 6 images; check its weights"),
        (_scaled_by_batch, "it gives an image other logits alone than in a batch; give its batch normalisation"),
        (lambda net, x: net(x).detach(), "its logits have no gradient (RuntimeError:"),
        (lambda net, x: net(x.double()), "it does not take 6 images of 1x4x4: RuntimeError:"),
        (lambda net, x: {}["key"], "it does not take 6 images of 1x4x4: KeyError: 'key'"),
    ],
)
def test_refusals(function: Callable[[nn.Module, Tensor], object], refusal: str) -> None:
    found = probe(Made(function), IMAGES, classes=4)
    assert len(found.refusals) == 1 and found.refusals[0].startswith(refusal), found


@pytest.mark.parametrize(
    ("function", "images", "warning"),
    [
        (
            lambda net, x: net(x) + 0.1 * torch.randn(4),
            IMAGES,
            "it is random: its logits for one image differ by up to",
        ),
        (lambda net, x: net(x).softmax(1), IMAGES, "it seems to return probabilities"),
        (lambda net, x: (9 * net(x)).sigmoid(), IMAGES, "all that it returns lies in [0, 1], as after a sigmoid"),
        (
            lambda net, x: torch.cat([9 * net(x), x[:, 0, 0]], 1).softmax(1)[:, :4],
            IMAGES,
            "all that it returns lies in",
        ),
        (lambda net, x: net(x.sqrt()), BINARY, "its gradient is not finite on 6 of 6 images"),
        (lambda net, x: net((x * 9).round() + 0 * x), IMAGES, "its gradient is zero on 6 of 6 images"),
        (lambda net, x: net(nn.functional.hardtanh(x, 0, 1)), BINARY, "pixels at exactly 0 or 1 have no gradient"),
    ],
)
def test_warnings(function: Callable[[nn.Module, Tensor], object], images: Tensor, warning: str) -> None:
    found = probe(Made(function), images, classes=4)
    assert not found.refusals
    assert len(found.warnings) == 1 and found.warnings[0].startswith(warning), found


@pytest.mark.parametrize("images", [IMAGES, BINARY])
@pytest.mark.parametrize(
    "function",
    [
        lambda net, x: net(x),
        lambda net, x: net(x).log_softmax(1),
        lambda net, x: 1e4 * net(x),
        lambda net, x: net(x).half(),
    ],
)
def test_a_right_model(function: Callable[[nn.Module, Tensor], object], images: Tensor) -> None:
    assert probe(Made(function), images, classes=4) == probe(smooth(dtype=torch.float32), images)
    found = probe(Made(function), images, classes=4)
    assert not found.refusals and not found.warnings


def test_the_model_stays_as_it_was() -> None:
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(), smooth(dtype=torch.float32)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert not probe(model, IMAGES).refusals
    assert all(module.training for module in model[:2]) and all(p.requires_grad for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
