"""A defence of one's own in front of the network, and what happens to one that fails."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from eadbench import models
from eadbench.defenses import Undefended, breaches
from eadbench.harness.datasets import load
from eadbench.harness.errors import UserError, VictimFailed
from eadbench.harness.results.folder import Results
from eadbench.harness.results.model_files import load_victim, read_model
from eadbench.harness.tracking import pyfunc
from tests.sweeps import rows, run, small

TRAINING = {"epochs": 2, "batch_size": 32, "learning_rate": 3e-3}
FAST: dict[str, Any] = {
    "attacks": [{"name": "fgm", "norm": "l2", "epsilons": [1, 4]}],
    "images": {"count": 2},
    "targets": "untargeted",
}


class Rounded(nn.Module):
    def __init__(self, network: nn.Module, steps: int) -> None:
        super().__init__()
        self.network, self.steps = network, steps

    def forward(self, images: Tensor) -> Tensor:
        rounded = (images * self.steps).round() / self.steps
        logits: Tensor = self.network(images + (rounded - images).detach())
        return logits


@dataclass(frozen=True, kw_only=True)
class BitDepth(Undefended):
    LABEL: ClassVar[str] = "bit depth"
    AXES: ClassVar[tuple[str, ...]] = ("bits",)

    bits: int = 1

    def wrap(self, model: nn.Module) -> nn.Module:
        return Rounded(model, 2**self.bits - 1)


@dataclass(frozen=True, kw_only=True)
class Fails(Undefended):
    how: str = "raises"

    def train(self, recipe: Any, data: Any, *, needed: Any = None, examples: Any = None, fit: Any = None) -> Any:
        if self.how == "raises":
            raise RuntimeError("no\nluck")
        model = models.build_network(recipe).eval()
        return {"wraps": Rounded(model, 1), "nothing": None}.get(self.how, model)

    def wrap(self, model: nn.Module) -> Any:
        if self.how == "wrap raises":
            raise ValueError("not today")
        return None if self.how == "wrap gives nothing" else model


def fragile(*, num_classes: int) -> nn.Module:
    """A network that cannot be trained."""

    class Fragile(nn.Sequential):
        def forward(self, images: Tensor) -> Tensor:
            if self.training:
                raise RuntimeError("cannot be trained")
            logits: Tensor = super().forward(images)
            return logits

    return Fragile(nn.Flatten(), nn.Linear(64, num_classes))


def victim(defense: str, **parameters: Any) -> dict[str, Any]:
    return {"arch": "digits", "training": TRAINING, "defense": {f"{__name__}:{defense}": parameters}}


def test_it_keeps_the_protocol() -> None:
    assert breaches(BitDepth) == []

    @dataclass(frozen=True, kw_only=True)
    class Wrong(Undefended):
        def wrap(self) -> Any:  # type: ignore[override]
            return None

    [breach] = breaches(Wrong)
    assert breach.startswith("must have a method wrap(model): ")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("front") / "sweep"
    run(small(victims=[victim("BitDepth", bits=[1, 2]), {"arch": "digits", "training": TRAINING}], **FAST), folder)
    return folder


def test_the_wrapped_network_is_the_victim(done: Path, tmp_path: Path) -> None:
    """Tested, attacked, and logged to MLflow with the module in front; stored without."""
    _, victims = Results(done).victims()
    images = load("digits").test.images(range(50))
    plain = models.load(Results(done).model(victims[2].digest))[0]
    for bits, each in zip((1, 2), victims, strict=False):
        assert each.defense_parameters == {"bits": bits}
        stored = read_model(Results(done).model(each.digest))
        loaded, recipe, _ = load_victim(stored)
        network = models.load(stored)[0]
        torch.testing.assert_close(network(images), plain(images))  # the same seed, trained as usual
        rounded = (images * (2**bits - 1)).round() / (2**bits - 1)
        torch.testing.assert_close(loaded(images), network(rounded))
        evaluation = Results(done).evaluation(each.digest, "digits", "test")
        assert evaluation is not None
        mistakes = (loaded(images).argmax(1) != load("digits").test.labels[:50]).nonzero().flatten().tolist()
        assert [index for index in evaluation.wrong if index < 50] == mistakes
        pyfunc.write(Results(done).model(recipe.digest), tmp_path / str(bits))
        served = pyfunc._load_pyfunc(str(tmp_path / str(bits))).predict(images.numpy())
        torch.testing.assert_close(torch.from_numpy(served), loaded(images))
    assert set(rows(done)["model"]) == {each.digest for each in victims}


def test_in_front_of_given_weights_and_in_an_ensemble(done: Path, tmp_path: Path) -> None:
    [weights] = [
        Results(done).model(each.digest) / "weights.safetensors"
        for each in Results(done).victims()[1]
        if each.defense == "none"
    ]
    given = {"arch": "digits", "weights": str(weights)}
    front = {**given, "name": "front", "defense": {f"{__name__}:BitDepth": {"bits": 1}}}
    run(small(victims=[front, {"name": "both", "ensemble": ["front", given]}], **FAST), tmp_path / "sweep")
    results = Results(tmp_path / "sweep")
    front_digest, both_digest = (each.digest for each in results.victims()[1])
    images = load("digits").test.images(range(20))
    front_model, both = (load_victim(read_model(results.model(digest)))[0] for digest in (front_digest, both_digest))
    plain = models.load(results.model(front_digest))[0]
    torch.testing.assert_close(front_model(images), plain(images.round()))
    mean = (plain(images).softmax(1) + plain(images.round()).softmax(1)) / 2
    torch.testing.assert_close(both(images).softmax(1), mean)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raises", r"victim \w+, digits: tests.*:Fails.train failed with RuntimeError: no luck"),
        ("wraps", r"Fails.train must return the network of digits; put what is in front of it in wrap"),
        ("nothing", r"Fails.train must return the network of digits"),
        ("wrap raises", r"Fails.wrap failed with ValueError: not today"),
        ("wrap gives nothing", r"Fails.wrap must return a torch.nn.Module, got NoneType"),
    ],
)
def test_what_fails_is_not_stored(tmp_path: Path, how: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        run(small(victims=[victim("Fails", how=how)], **FAST), tmp_path / "sweep", models=tmp_path / "models")
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)
    assert not list(tmp_path.glob("**/weights.safetensors")) and not list(tmp_path.glob("**/recipe.json"))


@pytest.mark.usefixtures("forks")
def test_a_training_that_fails_otherwise_can_be_tried_again(tmp_path: Path) -> None:
    net = {"arch": f"{__name__}:fragile", "training": TRAINING}
    with pytest.raises(VictimFailed, match="cannot be trained; run again to retry it") as caught:
        run(small(victims=[net], **FAST), tmp_path / "sweep", models=tmp_path / "models")
    assert caught.value.exit_code == 3
    assert not list(tmp_path.glob("**/recipe.json"))
