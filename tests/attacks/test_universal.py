"""Universal perturbations: algorithm 1 against a slow transcription, and in a sweep on images that it did not see."""

from pathlib import Path
from typing import Any, Literal

import pytest
import safetensors.torch
import torch
from torch import nn

from eadbench.attacks import DeepFool, Universal
from eadbench.attacks.contract.victims import small_net
from eadbench.harness.datasets import load
from eadbench.harness.results.folder import Results
from eadbench.harness.results.model_files import load_victim, read_model
from tests.sweeps import rows, run, small

Norm = Literal["l2", "linf"]
IMAGES = torch.rand(30, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def classes(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(images.clamp(0, 1)).argmax(1)


@pytest.mark.parametrize(("norm", "radius"), [("l2", 0.4), ("linf", 0.15)])
@pytest.mark.parametrize("rate", [0.3, 1.0])
def test_it_is_that_of_the_slow_transcription(norm: Norm, radius: float, rate: float) -> None:
    model = small_net().double()
    attack = Universal(norm=norm, radius=radius, fooling_rate=rate, passes=3, seed=4)
    own, v, order = classes(model, IMAGES), torch.zeros(1, 4, 4).double(), torch.Generator().manual_seed(4)
    passes = 0
    while (classes(model, IMAGES + v) != own).double().mean() < rate and passes < 3:
        passes += 1
        for i in torch.randperm(30, generator=order).tolist():
            x = (IMAGES[i] + v).clamp(0, 1)
            if classes(model, x[None]) == own[i]:
                fooled = DeepFool(norm="l2")(model, x[None], own[i : i + 1])["l2"]
                v = v + fooled.images[0] - x
                v = v * min(1.0, radius / v.norm().item()) if norm == "l2" else v.clamp(-radius, radius)
    learnt = attack.learn(model, IMAGES)
    torch.testing.assert_close(learnt["learnt"], v)
    assert learnt["fooling_rate"] == (classes(model, IMAGES + v) != own).double().mean()
    assert passes == 3 if rate == 1.0 else passes < 3


def test_what_is_learnt_does_not_change_the_caller_s_images() -> None:
    given = IMAGES.clone()
    Universal(norm="linf", radius=0.1).learn(small_net().double(), given)
    assert torch.equal(given, IMAGES)


def test_a_sweep_learns_once_for_a_victim_and_fools_images_that_were_not_learnt_from(tmp_path: Path) -> None:
    attack: dict[str, Any] = {
        "name": "universal",
        "norm": "linf",
        "radius": [0.05, 0.3],
        "images": 40,
        "classes": 4,
        "passes": 2,
    }
    run(small(attacks=[attack], targets="untargeted", images={"count": 30}, shard_size=16), tmp_path)
    results = Results(tmp_path)
    files = [safetensors.torch.load_file(path)["learnt"] for path in (tmp_path / "learnt").glob("*.safetensors")]
    assert sorted(round(v.abs().max().item(), 4) for v in files) == [0.05, 0.3]
    table = rows(tmp_path)
    near, far = (table[table["parameters"].str.contains(f'"radius": ?{radius}', regex=True)] for radius in (0.05, 0.3))
    assert len(near) == len(far) == 30 and near["success"].mean() < 0.35 < far["success"].mean()
    assert far["linf"].max() <= 0.3 + 1e-6

    model = load_victim(read_model(results.model(results.victims()[1][0].digest)))[0]
    images = load("digits").test.images(far["image"].tolist())
    noise = 0.3 * torch.randn(50, *images.shape, generator=torch.Generator().manual_seed(2)).sign()
    by_noise = torch.stack([classes(model, images + each) != classes(model, images) for each in noise])
    assert far["success"].mean() > 1.3 * by_noise.double().mean()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"radius": 0.0}, "radius must be above 0 and finite, got 0.0"),
        ({"fooling_rate": 1.1}, r"fooling_rate must be in \(0, 1\], got 1.1"),
        ({"images": 0}, "images must be at least 1, got 0"),
        ({"targeted": True}, "Universal is untargeted only"),
    ],
)
def test_mistakes(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Universal(norm="l2", **wrong)


def test_it_must_have_learnt() -> None:
    with pytest.raises(ValueError, match="a universal perturbation is learnt first"):
        Universal(norm="l2")(small_net().double(), IMAGES[:1], torch.tensor([0]))
