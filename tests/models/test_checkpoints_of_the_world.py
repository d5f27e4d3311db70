"""Weights as others save them: inside checkpoints, behind the prefixes of wrappers, in other floating types."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eadbench import models


class Small(nn.Module):
    """A network with batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(2 * 6 * 6, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(x))
        return logits


def given(seed: int = 1) -> Small:
    torch.manual_seed(seed)
    network = Small()
    network.body[1].running_mean.fill_(0.25)
    return network.eval()


def state(**changes: Tensor) -> dict[str, Tensor]:
    return {**given().state_dict(), **changes}


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


SAVED: dict[str, Callable[[], Any]] = {
    "a state dict": state,
    "DataParallel": lambda: nn.DataParallel(given()).state_dict(),
    "torch.compile": lambda: torch.compile(given()).state_dict(),
    "DataParallel around torch.compile": lambda: prefixed("module._orig_mod.", state()),
    "Lightning": lambda: {
        "epoch": 3,
        "state_dict": prefixed("model.", state()),
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}],
        "hyper_parameters": {"lr": 0.1},
    },
    "pytorch-cifar": lambda: {"net": prefixed("module.", state()), "acc": 95.2, "epoch": 200},
    "two levels": lambda: {"checkpoint": {"model_state_dict": state()}, "args": {"depth": 18}},
    "DataParallel inside, as of a VGG": lambda: {
        "epoch": 90,
        "arch": "vgg11",
        "best_acc1": torch.tensor(69.0),
        "state_dict": {name.replace("body.", "body.module."): tensor for name, tensor in state().items()},
    },
    "an attribute of a name of the user's": lambda: prefixed("wrapped.classifier.", state()),
    "beside numbers": lambda: {**state(), "epoch": 3},
    "an average alone": lambda: {"model_ema": state(), "model": None},
    "an average that is equal": lambda: {"model": state(), "model_ema": state()},
    "without counters": lambda: {name: t for name, t in state().items() if "num_batches" not in name},
    "bfloat16": lambda: {name: t.bfloat16() if t.is_floating_point() else t for name, t in state().items()},
    "float64": lambda: {name: t.double() if t.is_floating_point() else t for name, t in state().items()},
}


@pytest.mark.parametrize("name", SAVED)
def test_loaded(name: str, tmp_path: Path) -> None:
    torch.save(SAVED[name](), tmp_path / "w.pt")
    model = Small().eval()
    assert models.load_weights(model, tmp_path / "w.pt") == []
    images = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(model(images), given()(images), rtol=0, atol=0.02 if name == "bfloat16" else 0)


def test_buffers_of_a_normalisation_are_named_and_may_be_ignored(tmp_path: Path) -> None:
    torch.save(state(mu=torch.zeros(1), sigma=torch.ones(1)), tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"it has the unknown mu, sigma \(strict: false ignores them\)$"):
        models.load_weights(Small(), tmp_path / "w.pt")
    assert models.load_weights(Small(), tmp_path / "w.pt", strict=False) == ["mu", "sigma"]


def test_strict_false_ignores_no_missing_weights(tmp_path: Path) -> None:
    torch.save({name: t for name, t in state().items() if "head" not in name}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"it lacks head\.weight, head\.bias$"):
        models.load_weights(Small(), tmp_path / "w.pt", strict=False)


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        (
            lambda: {"model": state(), "model_ema": given(2).state_dict()},
            "holds two state dicts that fit: model and model_ema; save the one that is meant alone",
        ),
        (
            lambda: {**prefixed("student.", state()), **prefixed("teacher.", given(2).state_dict())},
            r"two state dicts that fit: the file itself \(student\.…\) and the file itself \(teacher\.…\)",
        ),
        (
            lambda: {name.replace("head", "fc"): tensor for name, tensor in state().items()},
            r"it lacks head\.weight, head\.bias; it has the unknown fc\.weight, fc\.bias$",
        ),
        (lambda: {"acc": np.float64(0.9), "net": state()}, r"it holds numpy\S*scalar too, and nothing but tensors"),
        (lambda: {"epoch": 3, "losses": [torch.ones(1)]}, "holds no state dict: a mapping of names to tensors"),
        (lambda: torch.ones(3), "holds no state dict"),
        (
            lambda: {"net": state(), "args": argparse.Namespace(lr=0.1)},
            "it holds argparse.Namespace too, and nothing but tensors is unpickled; where you trust it, save",
        ),
    ],
)
def test_refused(content: Callable[[], Any], refusal: str, tmp_path: Path) -> None:
    torch.save(content(), tmp_path / "w.pt")
    with pytest.raises(ValueError, match=refusal) as error:
        models.load_weights(Small(), tmp_path / "w.pt")
    assert "\n" not in str(error.value)


def test_changed_names_shapes_and_types_are_refused_in_one_line(tmp_path: Path) -> None:
    """Whatever is changed about a tensor that predictions depend on, the line names it."""
    changes: list[Callable[[dict[str, Any], str], object]] = [
        lambda tensors, name: tensors.pop(name),
        lambda tensors, name: tensors.update({f"{name}x": tensors.pop(name)}),
        lambda tensors, name: tensors.update({name.upper(): tensors.pop(name)}),
        lambda tensors, name: tensors.update({name: tensors[name][None]}),
        lambda tensors, name: tensors.update({name: tensors[name][:0]}),
        lambda tensors, name: tensors.update({name: tensors[name].flatten()[:1]}),
        lambda tensors, name: tensors.update({name: tensors[name].bool()}),
        lambda tensors, name: tensors.update({name: tensors[name].to("meta")}),
        lambda tensors, name: tensors.update({name: tensors[name] / 0}),
        lambda tensors, name: tensors.update({name: None}),
        lambda tensors, name: tensors.update({name: {"weight": tensors[name]}}),
    ]
    for name in (name for name in state() if "num_batches" not in name):
        for change in changes:
            tensors: dict[str, Any] = state()
            change(tensors, name)
            torch.save(tensors, tmp_path / "w.pt")
            with pytest.raises(ValueError, match=name.replace(".", r"\.")) as error:
                models.load_weights(Small(), tmp_path / "w.pt")
            assert "\n" not in str(error.value)


VICTIMS = Path(os.environ.get("EADBENCH_DATA", "")) / "victims"


@pytest.mark.skipif(not VICTIMS.is_dir(), reason=f"needs robust MNIST victims in {VICTIMS}")
@pytest.mark.parametrize("name", ["ddn", "trades"])
def test_robust_victims_of_others(name: str) -> None:
    class SmallCNN(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            features: dict[str, nn.Module] = {}
            for i, (before, after) in enumerate([(1, 32), (32, 32), (32, 64), (64, 64)], 1):
                features |= {f"conv{i}": nn.Conv2d(before, after, 3), f"relu{i}": nn.ReLU()}
                if i % 2 == 0:
                    features[f"maxpool{i // 2}"] = nn.MaxPool2d(2)
            dense = {"fc1": nn.Linear(1024, 200), "relu1": nn.ReLU(), "drop": nn.Dropout(0.5)}
            dense |= {"fc2": nn.Linear(200, 200), "relu2": nn.ReLU(), "fc3": nn.Linear(200, 10)}
            self.feature_extractor, self.classifier = nn.Sequential(), nn.Sequential()
            for part, modules in ((self.feature_extractor, features), (self.classifier, dense)):
                for key, module in modules.items():
                    part.add_module(key, module)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.classifier(self.feature_extractor(x).view(len(x), -1))
            return logits

    model = SmallCNN().eval()
    assert models.load_weights(model, VICTIMS / f"{name}.pth") == []
    stored = torch.load(VICTIMS / f"{name}.pth", map_location="cpu", weights_only=True)
    tensors = stored.get("state_dict", stored)
    assert all(torch.equal(tensor, tensors[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_flipped_bytes_are_loaded_or_refused_in_one_line(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"w{suffix}"
    if suffix == ".pt":
        torch.save(state(), file)
    else:
        models.save(tmp_path, _recipe(), given(), {})
        (tmp_path / "weights.safetensors").rename(file)
    whole = bytearray(file.read_bytes())
    generator = torch.Generator().manual_seed(0)
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for position in torch.randint(min(len(whole), 1500), (4,), generator=generator).tolist():
            damaged[position] ^= 0x55
        file.write_bytes(damaged)
        try:
            models.load_weights(Small(), file)
        except ValueError as error:
            refused += 1
            assert "\n" not in str(error).strip()
    assert refused > 10


def _recipe() -> models.Recipe:
    return models.Recipe(
        arch="x:y",
        parameters={},
        num_classes=10,
        trained_on="a",
        defense={"name": "none"},
        training=None,
        weights="0" * 64,
    )


class TestAdapted:
    def adapted(self, **fields: Any) -> models.Recipe:
        defaults: dict[str, Any] = {"parameters": {}, "num_classes": 10, "trained_on": "a", "defense": {"name": "none"}}
        return models.Recipe(arch="digits", training=None, weights="0" * 64, **{**defaults, **fields})

    def test_what_is_not_adapted_keeps_its_digest(self) -> None:
        assert self.adapted().to_json().keys() == {
            *("arch", "parameters", "num_classes", "trained_on", "defense", "training", "weights")
        }
        assert self.adapted(outputs="probabilities").digest != self.adapted().digest

    def test_read_again(self) -> None:
        recipe = self.adapted(num_classes=2, class_map=(3, 7), network_classes=10, outputs="probabilities")
        assert models.Recipe.from_json(recipe.to_json()) == recipe

    def test_probabilities_become_logits(self, tmp_path: Path) -> None:
        model = models.build_network(self.adapted(outputs="probabilities"))
        network = model.get_submodule("network")
        images = torch.rand(3, 1, 8, 8)
        network.eval().register_forward_hook(lambda *args: args[2].softmax(1))
        logits = model(images)
        torch.testing.assert_close(logits, network(images).log())
        torch.testing.assert_close(logits.logsumexp(1), torch.zeros(3), atol=1e-5, rtol=0)

    def test_a_probability_of_0_has_a_finite_logarithm_and_gradient(self) -> None:
        model = models.adapted.Adapted(nn.Flatten(), probabilities=True, class_map=None)
        images = torch.tensor([[0.0, 1.0]]).requires_grad_()
        logits = model(images)
        assert logits.isfinite().all() and torch.autograd.grad(logits.sum(), images)[0].isfinite().all()

    def test_a_class_map_picks_and_stores(self, tmp_path: Path) -> None:
        recipe = self.adapted(num_classes=2, class_map=(7, 3), network_classes=10)
        torch.save(models.build("digits", num_classes=10).state_dict(), tmp_path / "w.pt")
        model = models.build_network(recipe)
        models.load_weights(model, tmp_path / "w.pt")
        images = torch.rand(3, 1, 8, 8)
        logits = model.eval()(images)
        torch.testing.assert_close(logits, model.get_submodule("network")(images)[:, [7, 3]])
        models.save(tmp_path / "stored", recipe, model, {})
        assert torch.equal(models.load(tmp_path / "stored")[0](images), logits)

    @pytest.mark.parametrize(
        ("fields", "refusal"),
        [
            ({"num_classes": 2, "class_map": (3,)}, "class_map must have 2 classes, got 1"),
            ({"num_classes": 2, "class_map": (3, 3)}, "a class of its own, from 0"),
            ({"num_classes": 2, "class_map": (3, 7)}, "give network_classes, the number of classes of digits"),
            ({"num_classes": 2, "class_map": (3, 70), "network_classes": 10}, "class 70 of a network with 10 classes"),
        ],
    )
    def test_a_wrong_class_map(self, fields: dict[str, Any], refusal: str) -> None:
        with pytest.raises(ValueError, match=refusal):
            models.build_network(self.adapted(**fields))
