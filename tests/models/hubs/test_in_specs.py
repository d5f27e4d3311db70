"""Networks of hubs as victims of a spec: what is refused before work begins."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from eadbench.harness import api
from eadbench.harness.errors import UserError
from eadbench.harness.frames import Results
from tests.sweeps import run, small

timm = pytest.importorskip("timm")
pytest.importorskip("transformers")


@pytest.mark.parametrize(
    ("victim", "message"),
    [
        ({"arch": "timm:resnet_18"}, "timm has no such network; closest: resnet18"),
        ({"arch": "timm:resnet18.a9_in1k"}, "timm has no such weights; it has "),
        ({"arch": "timm:local-dir:nowhere"}, "nowhere has no config.json, which timm's save_for_hf writes"),
        ({"arch": "hf:./nowhere"}, "there is no folder ./nowhere"),
        ({"arch": "hf:nobody/nothing"}, "is not in the cache"),
        ({"arch": "onnx:nowhere.onnx"}, "there is no file nowhere.onnx"),
        ({"arch": "torchhub:nowhere:entry"}, "nowhere is no folder, and torch.hub's cache"),
        ({"arch": "timm:"}, "must be an architecture"),
        ({"arch": "timm:test_resnet", "parameters": {"pretrained": False}}, "needs training"),
        ({"arch": "timm:test_resnet", "parameters": {"depth": 3}, "training": {"epochs": 1}}, "'depth'"),
        ({"arch": "timm:test_resnet", "training": {"epochs": 1}, "class_map": {"0": 1}}, r"class_map"),
    ],
)
def test_refused(victim: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=rf"^victims\[0\].*{message}") as raised:
        api.plan(small(victims=[victim]), results=str(tmp_path / "results"))
    assert "\n" not in str(raised.value)


def test_published_weights_are_attacked_and_reported(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=10, in_chans=1)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    config = {"input_size": [1, 8, 8], "mean": [0.5], "std": [0.5], "num_classes": 10}
    content = {
        "architecture": "test_resnet",
        "num_classes": 10,
        "pretrained_cfg": config,
        "model_args": {"in_chans": 1},
    }
    (tmp_path / "config.json").write_text(json.dumps(content))
    fgm = {"name": "fgm", "norm": "linf", "epsilons": [0.5]}
    what = small(victims=[{"arch": f"timm:local-dir:{tmp_path}"}], attacks=[fgm], images={"count": 2}, targets="all")
    run(what, tmp_path / "results")
    results = Results(tmp_path / "results")
    [recipe] = results.snapshot.recipes.values()
    assert recipe.hub is not None
    assert recipe.hub["weights"] in api.write_page(results).read_text()
    assert len(results.rows()) == 2 * 9
