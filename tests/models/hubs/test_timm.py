"""Networks of timm inside a recipe: normalisation, sizes, weights, and loading them without the hub."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from eadbench import models

timm = pytest.importorskip("timm")

ARCH = "test_resnet"
MEAN, STD = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]


def recipe(arch: str, **changes: Any) -> models.Recipe:
    fields: dict[str, Any] = {"parameters": {}, "training": None, "num_classes": 5, **changes}
    weights, training = fields.get("weights"), fields["training"]
    hub = models.pin(arch, fields["parameters"], trained=bool(weights or training))
    return models.Recipe(arch=arch, trained_on="x", defense={"name": "none"}, hub=hub, **fields)


def expected(network: torch.nn.Module, images: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    logits: Tensor = network.eval()((images - mean) / std)
    return logits


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as timm's save_for_hf writes it, with random weights for 5 classes."""
    network = timm.create_model(ARCH, num_classes=5)
    config = {"input_size": [3, 48, 48], "mean": MEAN, "std": STD, "num_classes": 5}
    content = {"architecture": ARCH, "num_classes": 5, "pretrained_cfg": config, "model_args": {"drop_rate": 0.1}}
    (tmp_path / "config.json").write_text(json.dumps(content))
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    return tmp_path


def saved(folder: Path) -> torch.nn.Module:
    network = timm.create_model(ARCH, num_classes=5)
    models.load_weights(network, folder / "model.safetensors")
    return network.eval()  # type: ignore[no-any-return]


class TestLocalFolder:
    def test_normalised_as_its_config_says(self, folder: Path) -> None:
        images = torch.rand(2, 3, 48, 48)
        model = models.build_network(recipe(f"timm:local-dir:{folder}")).eval()
        torch.testing.assert_close(model(images), expected(saved(folder), images))

    def test_a_stored_model_needs_no_hub(self, folder: Path, tmp_path: Path) -> None:
        made = recipe(f"timm:local-dir:{folder}")
        model = models.build_network(made).eval()
        models.save(tmp_path / "stored", made, model, {})
        for file in ("config.json", "model.safetensors"):
            (folder / file).unlink()
        images = torch.rand(2, 3, 48, 48)
        loaded, read, _ = models.load(tmp_path / "stored")
        assert read == made and read.digest == made.digest
        assert torch.equal(loaded(images), model(images))

    def test_the_digest_names_the_weights(self, folder: Path) -> None:
        arch = f"timm:local-dir:{folder}"
        before = recipe(arch)
        assert recipe(arch).digest == before.digest
        save_file(timm.create_model(ARCH, num_classes=5).state_dict(), folder / "model.safetensors")
        assert recipe(arch).digest != before.digest
        with pytest.raises(ValueError, match="its weights changed since it was planned"):
            models.build_network(before)

    def test_other_classes_need_a_map_or_training(self, folder: Path) -> None:
        arch = f"timm:local-dir:{folder}"
        with pytest.raises(ValueError, match="has weights for 5 classes, not 2; give class_map"):
            models.build_network(recipe(arch, num_classes=2))
        images = torch.rand(2, 3, 48, 48)
        mapped = models.build_network(recipe(arch, num_classes=2, class_map=(4, 1))).eval()
        torch.testing.assert_close(mapped(images), expected(saved(folder), images)[:, [4, 1]])

    def test_fine_tuning_starts_from_its_weights(self, folder: Path) -> None:
        fine = {"num_classes": 2, "training": models.Training(epochs=1), "parameters": {"pretrained": True}}
        model = models.build_network(recipe(f"timm:local-dir:{folder}", **fine))
        *body, head, bias = model.get_submodule("network").state_dict().items()
        original = saved(folder).state_dict()
        assert all(torch.equal(tensor, original[name]) for name, tensor in body)
        assert (len(head[1]), len(bias[1])) == (2, 2)
        scratch = models.build_network(recipe(f"timm:local-dir:{folder}", **{**fine, "parameters": {}}))
        assert not torch.equal(scratch.get_submodule("network").state_dict()[body[0][0]], body[0][1])

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"absent has no config\.json, which timm's save_for_hf writes"):
            models.pin(f"timm:local-dir:{tmp_path / 'absent'}", {}, trained=True)


class TestRegistry:
    def test_given_weights(self, tmp_path: Path) -> None:
        given = timm.create_model(ARCH, num_classes=5)
        torch.save({"state_dict": {f"module.{name}": t for name, t in given.state_dict().items()}}, tmp_path / "w.pt")
        made = recipe(f"timm:{ARCH}", weights="0" * 64, parameters={"mean": MEAN, "std": STD})
        model = models.build_network(made).eval()
        models.load_weights(model, tmp_path / "w.pt")
        images = torch.rand(2, 3, 32, 32)
        torch.testing.assert_close(model(images), expected(given, images))

    def test_grey_images(self) -> None:
        model = models.build(f"timm:{ARCH}", num_classes=3).eval()
        images = torch.rand(2, 1, 32, 32)
        torch.testing.assert_close(model(images), model(images.expand(2, 3, 32, 32)))
        one_channel = models.build(f"timm:{ARCH}", num_classes=3, in_chans=1).eval()
        assert one_channel(images).shape == (2, 3)

    def test_another_size_says_which(self) -> None:
        model = models.build("timm:test_vit", num_classes=3).eval()
        with pytest.raises(RuntimeError, match="made for images of 160x160, not 28x28; give the data set `size: 160`"):
            model(torch.rand(1, 3, 28, 28))
        assert models.build("timm:test_vit", num_classes=3, img_size=32).eval()(torch.rand(1, 3, 32, 32)).shape == (
            1,
            3,
        )
        suspicion = models.size_suspicion(models.build(f"timm:{ARCH}", num_classes=3), (3, 28, 28))
        assert suspicion is not None and suspicion.endswith("give the data set `size: 160`")
        assert models.size_suspicion(model, (3, 160, 160)) is None

    @pytest.mark.parametrize(
        ("arch", "parameters", "message"),
        [
            ("timm:resnet81", {}, "timm has no such network; closest: resnet18"),
            ("timm:resnet18.mine", {}, "timm has no such weights; it has a1_in1k"),
            ("timm:test_resnet", {"width": 3}, "TypeError: .*'width'"),
            ("timm:test_resnet", {"std": [1, 0, 1]}, "std must be a number per channel"),
            ("timm:", {}, "must have a name after the colon"),
            ("timm:vgg11", {"in_chans": -1}, "architecture 'timm:vgg11': "),
        ],
    )
    def test_mistakes_are_one_line(self, arch: str, parameters: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message) as error:
            models.build(arch, num_classes=3, **parameters)
        assert "\n" not in str(error.value)

    def test_offline(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        constants = pytest.importorskip("huggingface_hub.constants")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(ValueError, match=r"is not in the cache .*, and HF_HUB_OFFLINE is set; fetch it") as error:
            models.pin("timm:resnet18.a1_in1k", {}, trained=False)
        assert "\n" not in str(error.value)

    def test_searched(self) -> None:
        assert {"resnet18", "timm:resnet18", "timm:resnet18.a1_in1k"} <= set(models.search("ResNet18"))
