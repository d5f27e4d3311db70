"""Networks of timm: `timm:resnet18.a1_in1k`, `timm:hf-hub:user/name`, `timm:local-dir:folder`."""

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from huggingface_hub import hf_hub_download
from timm.models import PretrainedCfg

from eadbench.models.hubs.cache import cache_first

__all__ = ["describe", "names", "network"]


def describe(name: str, parameters: Mapping[str, Any], *, normalised: bool) -> dict[str, Any]:
    """Return the architecture with its arguments, and what its pretrained config says."""
    source, _, place = name.partition(":")
    if source == "hf-hub":
        repository, _, revision = place.partition("@")
        file = cache_first(lambda: hf_hub_download(repository, "config.json", revision=revision or None))
        architecture, config, arguments = _saved(Path(file))
    elif source == "local-dir":
        architecture, config, arguments = _saved(Path(place).expanduser() / "config.json")
    else:
        architecture, config, arguments = name, _registered(name), {}
    channels = {**arguments, **parameters}.get("in_chans", 3)
    size = {**arguments, **parameters}.get("img_size", config["input_size"][1:])
    return {
        "architecture": architecture,
        "arguments": arguments,
        "classes": config["num_classes"],
        "mean": _per_channel(config["mean"], channels),
        "std": _per_channel(config["std"], channels),
        "size": [size, size] if isinstance(size, int) else list(size),
    }


def network(
    name: str, facts: Mapping[str, Any], parameters: Mapping[str, Any], *, classes: int, published: bool
) -> Any:
    """Build the network; the hub, or a local folder, is asked for published weights only."""
    arguments = {**facts["arguments"], **parameters, "num_classes": classes}
    if not published:
        return timm.create_model(facts["architecture"], pretrained=False, **arguments)
    source, _, place = name.partition(":")
    if source == "local-dir":
        name = f"{source}:{Path(place).expanduser()}"
    return cache_first(lambda: timm.create_model(name, pretrained=True, **arguments))


def names() -> list[str]:
    """Return every architecture, and every one with a tag of published weights."""
    tagged: list[str] = timm.list_pretrained()
    return sorted({*timm.list_models(), *tagged})


def _registered(name: str) -> dict[str, Any]:
    """Return the pretrained config of one of timm's own networks."""
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=3, cutoff=0.5)
        raise ValueError(f"timm has no such network; closest: {', '.join(close) or 'none'}")
    tags = [tagged.partition(".")[2] for tagged in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise ValueError(f"timm has no such weights; it has {', '.join(tags) or 'none'}")
    config: dict[str, Any] = (timm.get_pretrained_cfg(name) or PretrainedCfg()).to_dict()
    return config


def _saved(file: Path) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return the architecture, the pretrained config and the arguments in a config.json of timm's."""
    if not file.is_file():
        raise ValueError(f"{file.parent} has no config.json, which timm's save_for_hf writes")
    content = json.loads(file.read_text(encoding="utf-8"))
    config = {key: value for key, value in content.get("pretrained_cfg", content).items() if value is not None}
    config = {**PretrainedCfg().to_dict(), **config, "num_classes": content["num_classes"]}
    arguments = {key: value for key, value in content.get("model_args", {}).items() if key != "num_classes"}
    return content["architecture"], config, arguments


def _per_channel(values: Any, channels: int) -> list[float]:
    """Return a number per channel; for another number of channels than published, their average."""
    numbers = [float(value) for value in values]
    return numbers if len(numbers) == channels else [sum(numbers) / len(numbers)] * channels
