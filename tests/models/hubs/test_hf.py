"""Image classifiers of transformers: their processors' normalisation, their weights, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from eadbench import models

transformers = pytest.importorskip("transformers")

Built = tuple[Path, Any, Any]


def save(folder: Path, network: Any, processor: Any) -> Path:
    transformers.utils.logging.disable_progress_bar()
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def resnet(folder: Path) -> Built:
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=5
    )
    network = transformers.ResNetForImageClassification(config).eval()
    size = {"shortest_edge": 32}
    processor = transformers.ConvNextImageProcessor(
        size=size, crop_pct=1.0, image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6]
    )
    return save(folder, network, processor), network, processor


def vit(folder: Path) -> Built:
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, num_labels=5
    )
    network = transformers.ViTForImageClassification(config).eval()
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    return save(folder, network, processor), network, processor


def mobilevit(folder: Path) -> Built:
    """A network of blue, green and red, whose images are not normalised."""
    config = transformers.MobileViTConfig(
        hidden_sizes=[8, 8, 8],
        neck_hidden_sizes=[4, 4, 4, 4, 4, 4, 8],
        num_attention_heads=2,
        num_labels=5,
        image_size=32,
    )
    network = transformers.MobileViTForImageClassification(config).eval()
    size = {"height": 32, "width": 32}
    processor = transformers.MobileViTImageProcessor(size={"shortest_edge": 32}, crop_size=size)
    return save(folder, network, processor), network, processor


def efficientnet(folder: Path) -> Built:
    """A network whose images are scaled to [-1, 1] and then normalised."""
    config = transformers.EfficientNetConfig(
        image_size=32, width_coefficient=0.1, depth_coefficient=0.1, hidden_dim=128, num_labels=5
    )
    network = transformers.EfficientNetForImageClassification(config).eval()
    processor = transformers.EfficientNetImageProcessor(
        size={"height": 32, "width": 32}, rescale_factor=1 / 127.5, rescale_offset=True
    )
    return save(folder, network, processor), network, processor


def recipe(arch: str, **changes: Any) -> models.Recipe:
    fields: dict[str, Any] = {"parameters": {}, "training": None, "num_classes": 5, **changes}
    hub = models.pin(arch, fields["parameters"], trained=bool(fields["training"]))
    return models.Recipe(arch=arch, trained_on="x", defense={"name": "none"}, hub=hub, **fields)


@pytest.mark.parametrize("make", [resnet, vit, mobilevit, efficientnet], ids=lambda make: make.__name__)
def test_equals_the_processor_and_the_network(make: Any, tmp_path: Path) -> None:
    folder, network, processor = make(tmp_path / "hub")
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        expected = network(processor(list(images), return_tensors="pt").pixel_values).logits
        made = recipe(f"hf:{folder}")
        model = models.build_network(made).eval()
        torch.testing.assert_close(model(images / 255), expected, atol=1e-5, rtol=1e-4)
    assert made.hub is not None and made.hub["size"] == [32, 32]
    models.save(tmp_path / "stored", made, model, {})
    folder.rename(tmp_path / "elsewhere")
    loaded, read, _ = models.load(tmp_path / "stored")
    assert read == made and torch.equal(loaded(images / 255), model(images / 255))


def test_has_a_gradient(tmp_path: Path) -> None:
    model = models.build(f"hf:{vit(tmp_path)[0]}", num_classes=5, pretrained=True)
    images = torch.rand(2, 3, 32, 32).requires_grad_()
    (gradient,) = torch.autograd.grad(model(images).sum(), images)
    assert gradient.abs().sum() > 0
    with pytest.raises(RuntimeError, match="made for images of 32x32, not 28x28; give the data set `size: 32`"):
        model(torch.rand(1, 3, 28, 28))


def test_trained_with_another_number_of_classes(tmp_path: Path) -> None:
    model = models.build_network(recipe(f"hf:{resnet(tmp_path)[0]}", num_classes=3, training=models.Training(epochs=1)))
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 3)


def test_given_weights_fit(tmp_path: Path) -> None:
    folder, network, _ = resnet(tmp_path)
    model = models.build(f"hf:{folder}", num_classes=5)
    assert models.load_weights(model, folder / "model.safetensors") == []
    torch.testing.assert_close(dict(model.get_submodule("network").state_dict()), dict(network.state_dict()))


def test_without_a_processor_mean_and_std_are_needed(tmp_path: Path) -> None:
    folder = resnet(tmp_path)[0]
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ValueError, match=r"its image processor: .*; give mean and std$") as error:
        models.pin(f"hf:{folder}", {}, trained=False)
    assert "\n" not in str(error.value)
    assert recipe(f"hf:{folder}", parameters={"mean": 0.5, "std": 0.25}).hub["mean"] == [0.5]  # type: ignore[index]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"auto_map": {"AutoModelForImageClassification": "code.Net"}},
            "auto_map: code of its own, which is never run",
        ),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantised weights, which have no gradient"),
        ({"model_type": "bert"}, "is no image classifier of transformers"),
        ({"model_type": "timm_wrapper"}, "is a network of timm; name it timm:"),
        ({"hidden_sizes": [8, 24]}, "architecture 'hf:"),
    ],
)
def test_refused_in_one_line(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = resnet(tmp_path)[0]
    (folder / "code.py").write_text("raise SystemExit('code of the repository was run')")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(ValueError, match=message) as error:
        models.pin(f"hf:{folder}", {}, trained=False)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_not_whole(tmp_path: Path) -> None:
    """The message is about the folder that was named, not about a cache or the network."""
    folder = resnet(tmp_path)[0]
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ValueError, match=rf"the folder {folder} is not a whole saved model: .*"):
        models.pin(f"hf:{folder}", {}, trained=False)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ValueError, match=rf"its image processor: the folder {folder} is not a whole saved model"):
        models.pin(f"hf:{folder}", {}, trained=False)


def test_a_backbone_without_a_head(tmp_path: Path) -> None:
    _, network, processor = vit(tmp_path / "whole")
    save(tmp_path / "part", network.vit, processor)
    with pytest.raises(ValueError, match=r"lacks the weights classifier\.bias, classifier\.weight: it is no whole"):
        models.pin(f"hf:{tmp_path / 'part'}", {}, trained=False)


def test_a_processor_of_videos(tmp_path: Path) -> None:
    folder = vit(tmp_path)[0]
    transformers.VivitImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(
        folder
    )
    with pytest.raises(ValueError, match="its image processor does more than to normalise; give mean and std"):
        models.pin(f"hf:{folder}", {}, trained=False)


def test_no_folder() -> None:
    with pytest.raises(ValueError, match=r"there is no folder \./absent"):
        models.pin("hf:./absent", {}, trained=False)
