"""Image classifiers of transformers: `hf:microsoft/resnet-50`, with a revision after an @, or `hf:folder`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

from eadbench.models.hubs.cache import read_from

__all__ = ["describe", "network"]

_NOT_OF_THE_NETWORK = (
    "_name_or_path",
    "architectures",
    "dtype",
    "id2label",
    "label2id",
    "num_labels",
    "torch_dtype",
    "transformers_version",
)
"""Keys of a config that leave the network as it is, or are given apart."""
_REFUSED = {
    "auto_map": "code of its own, which is never run",
    "quantization_config": "quantised weights, which have no gradient",
    "attn_implementation": "an attention of its own",
}


def describe(name: str, parameters: Mapping[str, Any], *, normalised: bool) -> dict[str, Any]:
    """Return the config, and the normalisation of the image processor unless mean and std are given."""
    _no_progress()
    place, revision = _place(name)
    config = read_from(place, lambda: transformers.PretrainedConfig.get_config_dict(place, revision=revision)[0])
    for key, reason in _REFUSED.items():
        if config.get(key) is not None:
            raise ValueError(f"its config has {key}: {reason}")
    kind = config.get("model_type")
    if kind == "timm_wrapper":
        raise ValueError(f"is a network of timm; name it timm:hf-hub:{name}")
    if kind not in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES:
        raise ValueError(f"is no image classifier of transformers {transformers.__version__}, but {kind!r}")
    content = {key: value for key, value in config.items() if key not in _NOT_OF_THE_NETWORK} | dict(parameters)
    classes = len(config["id2label"]) if "id2label" in config else config.get("num_labels", 2)
    facts = {"config": content, "classes": classes}
    return facts if normalised else facts | _normalisation(place, revision, content)


def network(
    name: str, facts: Mapping[str, Any], parameters: Mapping[str, Any], *, classes: int, published: bool
) -> Any:
    """Build the network from its config; the hub, or a local folder, is asked for published weights only."""
    _no_progress()
    config = _config(facts["config"], classes)
    if not published:
        return transformers.AutoModelForImageClassification.from_config(config, trust_remote_code=False)
    place, revision = _place(name)
    model, report = read_from(
        place,
        lambda: transformers.AutoModelForImageClassification.from_pretrained(
            place,
            revision=revision,
            config=config,
            dtype=torch.float32,
            trust_remote_code=False,
            weights_only=True,
            output_loading_info=True,
        ),
    )
    if report["missing_keys"]:
        raise ValueError(
            f"lacks the weights {', '.join(sorted(report['missing_keys'])[:3])}: it is no whole classifier"
        )
    return model


def _config(content: Mapping[str, Any], classes: int) -> Any:
    """Return transformers' config object."""
    config = transformers.AutoConfig.for_model(**content)
    config.num_labels = classes
    if getattr(config, "use_pretrained_backbone", False):
        config.use_pretrained_backbone = False
    return config


def _place(name: str) -> tuple[str, str | None]:
    """Return a local folder, or a repository of the hub with its revision."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return str(folder), None
    repository, _, revision = name.partition("@")
    if name.startswith(("/", "~", ".")) or repository.count("/") > 1:
        raise ValueError(f"there is no folder {name}")
    return repository, revision or None


def _normalisation(place: str, revision: str | None, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return mean, standard deviation and size for images in [0, 1], from the image processor."""
    try:
        processor = read_from(
            place,
            lambda: transformers.AutoImageProcessor.from_pretrained(place, revision=revision, trust_remote_code=False),
        )
    except ValueError as error:
        raise ValueError(f"its image processor: {error}; give mean and std") from error
    channels = config.get("num_channels", 3)
    scale = 255 * processor.rescale_factor if processor.do_rescale else 255.0
    offset = 1.0 if getattr(processor, "rescale_offset", False) else 0.0
    mean, std = [0.0] * channels, [1.0] * channels
    if processor.do_normalize:
        mean, std = list(processor.image_mean), list(processor.image_std)
    divisor = list(processor.image_std) if getattr(processor, "include_top", False) else [1.0] * channels
    # The processor computes (scale * x - offset - mean) / (std * divisor) for x in [0, 1].
    facts = {
        "mean": [(offset + value) / scale for value in mean],
        "std": [value * other / scale for value, other in zip(std, divisor, strict=True)],
        "reverse_channels": bool(getattr(processor, "do_flip_channel_order", False)),
    }
    return facts | {"size": _size_given_by(processor, channels, facts, config.get("image_size"))}


def _size_given_by(processor: Any, channels: int, facts: Mapping[str, Any], image_size: Any) -> Any:
    """Return the height and width that a processor gives to images, after checking the facts on some of one colour."""
    side = image_size if isinstance(image_size, int) else 224
    colours = torch.tensor([[0, 0, 0], [255, 128, 0], [7, 70, 255]], dtype=torch.uint8)[:, :channels]
    images = [colour.expand(side, side, channels).numpy() for colour in colours]
    given = processor(images=images, return_tensors="pt", input_data_format="channels_last")["pixel_values"]
    ordered = colours.flip(1) if facts["reverse_channels"] else colours
    expected = (ordered / 255 - torch.tensor(facts["mean"])) / torch.tensor(facts["std"])
    if given.ndim != 4 or not torch.allclose(given, expected[:, :, None, None].expand_as(given), rtol=1e-4, atol=1e-4):
        raise ValueError("its image processor does more than to normalise; give mean and std")
    return list(given.shape[2:])


def _no_progress() -> None:
    """Keep transformers from writing to the terminal."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
