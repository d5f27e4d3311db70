"""Networks of RobustBench: `robustbench:Carmon2019Unlabeled`, with the parameters dataset, threat_model and folder."""

import contextlib
import importlib
import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

with contextlib.suppress(ModuleNotFoundError):  # robustbench imports `autoattack`, which PyPI has under this name
    sys.modules.setdefault("autoattack", importlib.import_module("pyautoattack"))

import timm
from robustbench import utils
from robustbench.model_zoo import model_dicts
from robustbench.model_zoo.enums import BenchmarkDataset, ThreatModel

from eadbench.models.fetching import refuse_fetch

__all__ = ["describe", "names", "network"]


def describe(name: str, parameters: Mapping[str, Any], *, normalised: bool) -> dict[str, Any]:
    """Return the data set, the threat model and the number of classes."""
    known = {"dataset": "cifar10", "threat_model": "Linf", "folder": "models"}
    if unknown := parameters.keys() - known.keys():
        raise ValueError(f"takes the parameters dataset, threat_model and folder, not {', '.join(sorted(unknown))}")
    facts = {key: parameters.get(key, known[key]) for key in ("dataset", "threat_model")}
    entries = model_dicts[BenchmarkDataset(facts["dataset"])].get(ThreatModel(facts["threat_model"]), {})
    if name not in entries:
        raise ValueError(f"robustbench has no such network for {facts['dataset']} and {facts['threat_model']}")
    imagenet = facts["dataset"] == "imagenet"
    return {
        **facts,
        "classes": utils.DATASET_CLASSES[BenchmarkDataset(facts["dataset"])],
        "size": [224, 224] if imagenet else [32, 32],
    }


def network(
    name: str, facts: Mapping[str, Any], parameters: Mapping[str, Any], *, classes: int, published: bool
) -> Any:
    """Build the network, which normalises its images itself; published weights are read from `folder`, or fetched."""
    if classes != facts["classes"]:
        raise ValueError(f"has {facts['classes']} classes, not {classes}; give class_map")
    dataset, threat_model = facts["dataset"], facts["threat_model"]
    with contextlib.redirect_stdout(io.StringIO()):
        if published:
            _refuse_fetch(name, parameters.get("folder", "models"), dataset, threat_model)
            return utils.load_model(name, parameters.get("folder", "models"), dataset, threat_model)
        of_timm = f"{name.lower().replace('-', '_')}_{dataset}_{threat_model}".lower()
        if timm.is_model(of_timm):
            return timm.create_model(of_timm, num_classes=classes, pretrained=False)
        return model_dicts[BenchmarkDataset(dataset)][ThreatModel(threat_model)][name]["model"]()


def _refuse_fetch(name: str, folder: str, dataset: str, threat_model: str) -> None:
    """Refuse weights that are not in RobustBench's folder, if nothing may be fetched."""
    file = Path(folder) / BenchmarkDataset(dataset).value / ThreatModel(threat_model).value / f"{name}.pt"
    if not file.is_file():
        refuse_fetch(f"there is no file {file}")


def names() -> list[str]:
    """Return every network's name."""
    return sorted({name for threats in model_dicts.values() for models in threats.values() for name in models})
