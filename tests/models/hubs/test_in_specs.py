"""Networks of hubs as victims of a spec: what is refused before work begins."""

from pathlib import Path
from typing import Any

import pytest

from eadbench.harness import api
from eadbench.harness.errors import UserError
from tests.sweeps import small

pytest.importorskip("timm")
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
