"""Architectures, recipes, and trained models on disk."""

import builtins
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from eadbench import models
from eadbench.models import Recipe, Training


def recipe(**changes: Any) -> Recipe:
    fields: dict[str, Any] = {
        "arch": "digits",
        "parameters": {},
        "num_classes": 10,
        "trained_on": "digits",
        "defense": {"name": "none"},
        "training": Training(epochs=1),
    }
    return Recipe(**{**fields, **changes})


def two_layers(*, num_classes: int, width: int = 3) -> nn.Module:
    """A user's architecture, named by its import path."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, num_classes))


NETWORK = nn.Flatten()


def not_a_model(*, num_classes: int) -> int:
    return num_classes


def fails(error: str) -> nn.Module:
    raise getattr(builtins, error)("two\nlines")


class Fixed(nn.Flatten):
    """A user's network whose number of logits is fixed: it takes no `num_classes`."""


class FreeForm(nn.Linear):
    def __init__(self, **options: Any) -> None:
        super().__init__(64, options["num_classes"])


class TestArchitectures:
    # The published networks, counted by hand: weights and biases of 4 convolutions and 3 dense layers.
    CW_MNIST = (
        (9 * 32 + 32) + (9 * 32 * 32 + 32) + (9 * 32 * 64 + 64) + (9 * 64 * 64 + 64)
        + (4 * 4 * 64 * 200 + 200) + (200 * 200 + 200) + (200 * 10 + 10)
    )  # fmt: skip
    CW_CIFAR10 = (
        (9 * 3 * 64 + 64) + (9 * 64 * 64 + 64) + (9 * 64 * 128 + 128) + (9 * 128 * 128 + 128)
        + (5 * 5 * 128 * 256 + 256) + (256 * 256 + 256) + (256 * 10 + 10)
    )  # fmt: skip

    @pytest.mark.parametrize(
        ("arch", "shape", "parameters"),
        [
            ("cw_mnist", (1, 28, 28), CW_MNIST),
            ("cw_cifar10", (3, 32, 32), CW_CIFAR10),
            ("digits", (1, 8, 8), None),
        ],
    )
    def test_shapes_and_sizes(self, arch: str, shape: tuple[int, ...], parameters: int | None) -> None:
        model = models.build(arch, num_classes=10)
        assert model(torch.rand(3, *shape)).shape == (3, 10)
        assert models.build(arch, num_classes=7)(torch.rand(2, *shape)).shape == (2, 7)
        if parameters is not None:
            assert sum(p.numel() for p in model.parameters()) == parameters

    @pytest.mark.parametrize("arch", models.MODELS)
    def test_a_grey_half_is_the_centre(self, arch: str) -> None:
        """An image of 0.5 everywhere enters the first convolution as zeros."""
        model = models.build(arch, num_classes=10)
        entered = []
        first = model.get_submodule("features.0")
        first.register_forward_pre_hook(lambda _, given: entered.append(given[0]))
        model(torch.full((1, *model.image_shape), 0.5))  # type: ignore[misc]
        assert not entered[0].any()

    def test_another_image_size_is_refused(self) -> None:
        with pytest.raises(ValueError, match="takes images 1x28x28, got 3x32x32"):
            models.build("cw_mnist", num_classes=10)(torch.rand(1, 3, 32, 32))


class TestBuild:
    @pytest.mark.parametrize(("arch", "side"), [("resnet18", 32), ("inception_v3", 75), ("googlenet", 32)])
    @pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
    def test_torchvision_gives_plain_logits(self, arch: str, side: int, training: bool) -> None:
        model = models.build(arch, num_classes=5).train(training)
        logits = model(torch.rand(2, 3, side, side))
        assert type(logits) is torch.Tensor and logits.shape == (2, 5)

    def test_torchvision_is_normalised_inside(self) -> None:
        model = models.build("resnet18", num_classes=5).eval()
        images = torch.rand(2, 3, 32, 32)
        mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
        by_hand = torchvision.transforms.Normalize(mean, std)(images)
        torch.testing.assert_close(model(images), model.network(by_hand))  # type: ignore[operator]
        grey = images[:, :1]
        torch.testing.assert_close(model(grey), model(grey.expand(-1, 3, -1, -1)))

    @pytest.mark.parametrize("arch", ["resnet18", "inception_v3", "googlenet"])
    def test_published_weights(self, arch: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Published weights are loaded completely; a stored model is loaded without fetching them again."""
        with_heads = {"inception_v3": {"init_weights": False}, "googlenet": {"init_weights": False}}
        published = torchvision.models.get_model(arch, weights=None, **with_heads.get(arch, {}))
        enum = torchvision.models.get_model_weights(arch)
        monkeypatch.setattr(enum, "get_state_dict", lambda *_, **__: published.state_dict())
        model = models.build(arch, num_classes=1000, weights="IMAGENET1K_V1")
        torch.testing.assert_close(
            dict(model.get_submodule("network").state_dict()),
            {name: t for name, t in published.state_dict().items() if not name.lower().startswith("aux")},
        )
        monkeypatch.undo()
        made = recipe(arch=arch, parameters={"weights": "IMAGENET1K_V1"}, num_classes=1000, training=None)
        models.save(tmp_path, made, model, {})
        images = torch.rand(1, 3, 80, 80)
        torch.testing.assert_close(models.load(tmp_path)[0](images), model.eval()(images))

    def test_import_path(self) -> None:
        model = models.build(f"{__name__}:two_layers", num_classes=4, width=5)
        assert model(torch.rand(2, 1, 8, 8)).shape == (2, 4)
        assert model[1].out_features == 5  # type: ignore[index]

    @pytest.mark.parametrize(
        ("arch", "parameters", "message"),
        [
            ("cw_mnsit", {}, "unknown architecture 'cw_mnsit'; closest: cw_mnist"),
            ("resnet19", {}, "closest: resnet1"),
            ("digits", {"width": 3}, r"'digits' takes .*num_classes.*: got an unexpected .* 'width'"),
            ("resnet18", {"width": 3}, "torchvision's 'resnet18' does not take these parameters: .*'width'"),
            ("resnet18", {"weights": "V9"}, "unknown weights 'V9' of 'resnet18'; .*: IMAGENET1K_V1"),
            ("resnet18", {"weights": "IMAGENET1K_V1"}, "know 1000 classes, not 10"),
            ("no.such:thing", {}, "cannot import 'no.such': No module named 'no'"),
            (":thing", {}, "cannot import ''"),
            ("math:no_such", {}, "module 'math' has no function 'no_such'"),
            (f"{__name__}:two_layers", {"depth": 1}, "takes .*width.*: got an unexpected .* 'depth'"),
            (f"{__name__}:not_a_model", {}, "must return a torch.nn.Module, got int"),
            (f"{__name__}:NETWORK", {}, "is a network; name a function or class that returns one"),
            (f"{__name__}:fails", {"error": "AssertionError"}, "architecture '.*:fails': AssertionError: two lines$"),
            (f"{__name__}:fails", {"error": "KeyError"}, "architecture '.*:fails': KeyError: 'two"),
            (f"{__name__}:fails", {"error": "ImportError"}, "architecture '.*:fails': ImportError: two lines$"),
            (f"{__name__}:fails", {"error": "SystemExit"}, "architecture '.*:fails': SystemExit: two lines$"),
            ("builtins:print", {"width": 1}, "architecture 'builtins:print'"),
            ("resnet18", {"width_per_group": "a"}, "torchvision's 'resnet18' "),
            ("vit_b_16", {"image_size": 17}, "torchvision's 'vit_b_16' cannot be built: AssertionError"),
        ],
    )
    def test_mistakes_are_named_in_one_line(self, arch: str, parameters: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message) as caught:
            models.build(arch, num_classes=10, **parameters)
        assert "\n" not in str(caught.value)

    def test_no_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def unreachable(*_: object, **__: object) -> None:
            raise OSError("Network is unreachable")

        monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", unreachable)
        with pytest.raises(ValueError, match=r"cannot fetch weights .* \(Network is unreachable\); put them in"):
            models.build("resnet18", num_classes=1000, weights="IMAGENET1K_V1")

    def test_num_classes_is_passed_where_it_is_taken(self) -> None:
        assert isinstance(models.build(f"{__name__}:Fixed", num_classes=3), Fixed)
        assert models.build(f"{__name__}:FreeForm", num_classes=3)(torch.rand(2, 64)).shape == (2, 3)

    def test_a_pickle_in_the_cache_of_torch_hub_is_not_run(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        class Trap:
            def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
                return os.mkdir, (str(tmp_path / "sprung"),)

        file = Path(torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url).name
        (tmp_path / "checkpoints").mkdir()
        torch.save(Trap(), tmp_path / "checkpoints" / file)
        monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
        with pytest.raises(ValueError, match="torchvision's 'resnet18' cannot be built: UnpicklingError"):
            models.build("resnet18", num_classes=1000, weights="IMAGENET1K_V1")
        assert not (tmp_path / "sprung").exists()
        assert os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1"

    def test_a_stored_vision_transformer_keeps_the_size_of_its_published_weights(self) -> None:
        named = {"weights": "IMAGENET1K_SWAG_E2E_V1"}
        made = recipe(arch="vit_b_16", parameters=named, num_classes=1000, training=None)
        with torch.device("meta"):
            model = models.build_network(made, published=False)
        assert model.get_submodule("network").image_size == 384


class TestImportPaths:
    def test_a_module_that_lies_elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "src" / "deep").mkdir(parents=True)
        (tmp_path / "src" / "deep" / "my_net_elsewhere.py").write_text("import not_installed_anywhere")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", list(sys.path))
        with pytest.raises(ValueError, match=r"found in the working folder, .*; my_net_elsewhere is in src/deep, so"):
            models.build("my_net_elsewhere:Net", num_classes=2)
        monkeypatch.syspath_prepend(tmp_path / "src" / "deep")
        with pytest.raises(ValueError, match="named 'not_installed_anywhere', which my_net_elsewhere imports; install"):
            models.build("my_net_elsewhere:Net", num_classes=2)

    def test_another_module_of_the_same_name(self) -> None:
        with pytest.raises(ValueError, match=r"module 'json' has no function 'Net'; it is .*json/__init__\.py$"):
            models.build("json:Net", num_classes=2)


class TestRecipe:
    @pytest.mark.parametrize(
        ("fields", "digest"),
        [
            ({}, "9c2a898b5b9d2543"),
            (
                {
                    "arch": "resnet18",
                    "parameters": {"weights": "IMAGENET1K_V1"},
                    "num_classes": 1000,
                    "trained_on": "x",
                    "training": None,
                },
                "d2cb3f33e83e59bc",
            ),
            (
                {
                    "arch": "a:b",
                    "parameters": {"width": [1, 2.5]},
                    "num_classes": 3,
                    "trained_on": "x",
                    "defense": {"name": "distillation", "temperature": 10.0},
                    "training": Training(epochs=3, optimizer="sgd", seed=7),
                },
                "8f67f81d44b719a2",
            ),
            ({"arch": "cw_mnist", "trained_on": "mnist", "training": None, "weights": "0" * 64}, "33d50c254c0a107e"),
        ],
        ids=["trained", "published", "defended", "given"],
    )
    def test_digest_is_stable(self, fields: dict[str, Any], digest: str) -> None:
        """Published results and stored models carry this name: a change would orphan them all."""
        assert recipe(**fields).digest == digest

    def test_digest_of_is_canonical(self) -> None:
        assert models.digest_of({"b": (1, 2), "a": None}) == models.digest_of({"a": None, "b": [1, 2]})
        assert models.digest_of([]) == "4f53cda18c2baa0c"  # printf '[]' | sha256sum
        with pytest.raises(ValueError, match="Out of range float"):
            models.digest_of(float("nan"))

    def test_equal_content_is_equal(self) -> None:
        one = recipe(parameters={"b": (1, 2), "a": 1}, training=Training(epochs=1, learning_rate=1))
        two = recipe(parameters={"a": 1, "b": [1, 2]}, training=Training(epochs=1, learning_rate=1.0))
        assert one == two and one.digest == two.digest and len({one, two}) == 1

    @pytest.mark.parametrize(
        "changes",
        [
            {"arch": "cw_mnist"},
            {"parameters": {"width": 2}},
            {"num_classes": 9},
            {"trained_on": "mnist"},
            {"defense": {"name": "distillation", "temperature": 10.0}},
            {"training": None, "weights": "0" * 64},
            {"outputs": "probabilities"},
            {"class_map": tuple(range(10)), "network_classes": 12},
            {"class_map": tuple(range(10)), "network_classes": 13},
            {"hub": {"classes": 10, "mean": [0.5]}},
            {"training": None, "hub": {"classes": 10, "weights": "0" * 64}},
            {"training": Training(epochs=2)},
            {"training": Training(epochs=1, batch_size=7)},
            {"training": Training(epochs=1, learning_rate=0.5)},
            {"training": Training(epochs=1, optimizer="sgd")},
            {"training": Training(epochs=1, momentum=0.5)},
            {"training": Training(epochs=1, weight_decay=0.5)},
            {"training": Training(epochs=1, seed=1)},
            {"training": Training(epochs=1, nesterov=False)},
            {"training": Training(epochs=1, schedule="cosine")},
            {"training": Training(epochs=1, schedule="step", step_epochs=1)},
            {"training": Training(epochs=1, crop=2)},
            {"training": Training(epochs=1, flip=True)},
            {"training": Training(epochs=1, label_smoothing=0.1)},
            {"training": Training(epochs=1, held_out=0.1)},
            {"training": Training(epochs=1, held_out=0.1, patience=1)},
            {"training": Training(epochs=1, ema=0.9)},
        ],
        ids=str,
    )
    def test_every_field_counts(self, changes: dict[str, Any]) -> None:
        changed = recipe(**changes)
        assert changed.digest != recipe().digest
        again = Recipe.from_json(json.loads(json.dumps(changed.to_json())))
        assert again == changed and again.digest == changed.digest

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: Training(epochs=0), "training.epochs must be at least 1, got 0"),
            (lambda: Training(epochs=1, schedule="x"), "training.schedule must be one of warm_up_cosine, cosine, "),  # type: ignore[arg-type]
            (
                lambda: Training(epochs=1, schedule="step"),
                "training.step_epochs is missing: schedule step decays after",
            ),
            (
                lambda: Training(epochs=1, schedule="step", step_epochs=0),
                "training.step_epochs must be at least 1, got 0",
            ),
            (
                lambda: Training(epochs=1, step_epochs=2),
                "training.step_epochs is for schedule step, but schedule is warm",
            ),
            (lambda: Training(epochs=1, step_factor=0.5), "training.step_factor is for schedule step, but schedule is"),
            (
                lambda: Training(epochs=1, schedule="step", step_epochs=1, step_factor=1),
                "training.step_factor must be in ",
            ),
            (lambda: Training(epochs=1, crop=-1), "training.crop must be at least 0, got -1"),
            (lambda: Training(epochs=1, label_smoothing=1), r"training.label_smoothing must be in \[0, 1\), got 1.0"),
            (lambda: Training(epochs=1, held_out=1), r"training.held_out must be in \[0, 1\), got 1.0"),
            (lambda: Training(epochs=1, held_out=float("nan")), r"training.held_out must be in \[0, 1\), got nan"),
            (lambda: Training(epochs=1, held_out=0.1, patience=0), "training.patience must be at least 1, got 0"),
            (lambda: Training(epochs=1, patience=2), "training.patience needs held_out, the share of images to test"),
            (lambda: Training(epochs=1, ema=1), r"training.ema must be in \(0, 1\), got 1.0"),
            (lambda: Training(epochs=1, learning_rate=0), "training.learning_rate must be above 0, got 0.0"),
            (
                lambda: Training(epochs=1, learning_rate=float("nan")),
                "learning_rate must be above 0, got nan",
            ),
            (lambda: Training(epochs=1, optimizer="lion"), "training.optimizer must be .* got 'lion'"),  # type: ignore[arg-type]
            (lambda: recipe(training=None), "neither training nor weights"),
            (lambda: recipe(weights="0" * 64), "leave out training or weights"),
            (lambda: recipe(defense={}), 'recipe.defense needs a "name"'),
            (lambda: recipe(outputs="softmax"), 'outputs must be "logits" or "probabilities", got \'softmax\''),
            (lambda: recipe(network_classes=12), "network_classes needs class_map"),
            (lambda: recipe(class_map=(0, 1)), "class_map must have 10 classes, got 2"),
            (lambda: recipe(class_map=(0,) * 10), "class_map must give each class of the data set a class of its own"),
            (lambda: recipe(class_map=tuple("0123456789")), "class_map must hold whole numbers"),
            (
                lambda: recipe(class_map=tuple(range(10)), network_classes=9),
                "class_map names the class 9 of a network with 9 classes",
            ),
            (lambda: recipe(training=None, hub={"classes": 10}), "neither training nor weights"),
            (lambda: recipe(parameters={"a": [torch.nn.ReLU]}), r"recipe.parameters.a\[0\] must fit in JSON"),
            (lambda: recipe(parameters={"a": {1: 2}}), "recipe.parameters.a: keys must be strings"),
            (lambda: Recipe.from_json({"archh": "digits"}), "not a recipe .*'archh'.*; its keys are arch, "),
        ],
    )
    def test_mistakes_are_named(self, make: Callable[[], object], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            make()


class TestStore:
    def test_round_trip(self, tmp_path: Path) -> None:
        model = models.build("digits", num_classes=10).to(memory_format=torch.channels_last)
        assert not models.is_stored(tmp_path / "one")
        models.save(tmp_path / "one", recipe(), model, {"accuracy": 0.5})
        assert sorted(os.listdir(tmp_path / "one")) == ["recipe.json", "weights.safetensors"]
        before = torch.get_rng_state()
        loaded, stored_recipe, facts = models.load(tmp_path / "one")
        assert torch.equal(torch.get_rng_state(), before)
        assert (stored_recipe, facts, loaded.training) == (recipe(), {"accuracy": 0.5}, False)
        torch.testing.assert_close(dict(loaded.state_dict()), dict(model.state_dict()), rtol=0, atol=0)
        models.save(tmp_path / "one", recipe(), model, {"accuracy": 0.6})
        assert models.load(tmp_path / "one")[2] == {"accuracy": 0.6}

    def test_an_interrupted_save_is_no_model(self, tmp_path: Path) -> None:
        models.save(tmp_path, recipe(), models.build("digits", num_classes=10), {})
        (tmp_path / "recipe.json").unlink()
        assert not models.is_stored(tmp_path)
        with pytest.raises(ValueError, match=r"holds no trained model: there is no recipe\.json"):
            models.load(tmp_path)

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"recipe": {}, "facts": {}}'])
    def test_another_recipe_file_is_refused(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "weights.safetensors").touch()
        (tmp_path / "recipe.json").write_text(content)
        with pytest.raises(ValueError, match=r"recipe\.json does not describe a trained model"):
            models.load(tmp_path)

    def test_truncated_weights_are_refused(self, tmp_path: Path) -> None:
        models.save(tmp_path, recipe(), models.build("digits", num_classes=10), {})
        file = tmp_path / "weights.safetensors"
        file.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(ValueError, match="is not a readable safetensors file"):
            models.load(tmp_path)
