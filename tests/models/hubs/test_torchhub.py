"""Entries of torch.hub: run from a folder or the cache, and refused where code is refused."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from eadbench import models
from eadbench.models.code import NO_CODE, refuse_code

HUBCONF = """
import torch
from layers_of_a_hub import linear

def small(pretrained=False, num_classes=10, width=8):
    network = linear(width, num_classes)
    if pretrained:
        with torch.no_grad():
            network[1].weight.fill_(0.5)
            network[1].bias.zero_()
    return network

def exits():
    raise SystemExit(3)
"""
LAYERS = """
from torch import nn

def linear(width, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(width, classes))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "owner_name_main"
    folder.mkdir()
    (folder / "hubconf.py").write_text(HUBCONF)
    (folder / "layers_of_a_hub.py").write_text(LAYERS)
    return folder


def recipe(arch: str, **changes: Any) -> models.Recipe:
    fields: dict[str, Any] = {"parameters": {"width": 4, "mean": 0.5, "std": 0.25}, "num_classes": 10, **changes}
    hub = models.pin(arch, fields["parameters"], trained=False)
    return models.Recipe(arch=arch, trained_on="x", defense={"name": "none"}, training=None, hub=hub, **fields)


def test_from_a_folder_and_stored(folder: Path, tmp_path: Path) -> None:
    made = recipe(f"torchhub:{folder}:small")
    model = models.build_network(made).eval()
    images = torch.rand(2, 1, 2, 2)
    network = model.get_submodule("network")
    assert bool((network[1].weight == 0.5).all())  # type: ignore[index]
    torch.testing.assert_close(model(images), network((images - 0.5) / 0.25))
    models.save(tmp_path / "stored", made, model, {})
    assert torch.equal(models.load(tmp_path / "stored")[0](images), model(images))


def test_from_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(folder.parent))
    for place in ("owner/name:main", "owner/name"):
        assert models.build(f"torchhub:{place}:small", num_classes=3, width=4)(torch.rand(2, 1, 2, 2)).shape == (2, 3)
    with pytest.raises(ValueError, match=r"other/name is no folder, and .* has nothing of it; name a folder, or fetch"):
        models.build("torchhub:other/name:small", num_classes=3)


def test_is_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NO_CODE, "1")
    for refused in (lambda: refuse_code(f"torchhub:{folder}:small"), lambda: recipe(f"torchhub:{folder}:small")):
        with pytest.raises(ValueError, match=r"names code .*, which --no-code refuses"):
            refused()
    for arch in ("timm:resnet18", "hf:microsoft/resnet-50", "robustbench:Carmon2019Unlabeled", "onnx:net.onnx"):
        refuse_code(arch)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("large", "has no entry 'large', but linear, small, exits"),
        ("exits", "SystemExit: 3"),
    ],
)
def test_mistakes_are_one_line(entry: str, message: str, folder: Path) -> None:
    with pytest.raises(ValueError, match=message):
        models.build(f"torchhub:{folder}:{entry}", num_classes=10)


def test_no_entry_or_no_hubconf(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be torchhub:folder:entry"):
        models.build("torchhub:folder", num_classes=10)
    with pytest.raises(ValueError, match=r"has no hubconf\.py"):
        models.build(f"torchhub:{tmp_path}:entry", num_classes=10)


def test_repositories_with_modules_of_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each entry runs its own repository's code, and leaves the user's module of that name alone."""
    for name, layers in (("a", "nn.Linear(4, 10)"), ("b", "nn.Linear(4, 3), nn.Linear(3, 10)")):
        package = tmp_path / name / "nets_of_both"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "net.py").write_text(f"from torch import nn\nmake = lambda: nn.Sequential(nn.Flatten(), {layers})")
        entry = "def net():\n    from nets_of_both.net import make\n    return make()"
        (tmp_path / name / "hubconf.py").write_text(entry)
    own = ModuleType("nets_of_both")
    monkeypatch.setitem(sys.modules, "nets_of_both", own)
    sizes = [
        sum(weight.numel() for weight in models.build(f"torchhub:{tmp_path / name}:net", num_classes=10).parameters())
        for name in ("a", "b", "a")
    ]
    assert sizes == [50, 15 + 40, 50]
    assert sys.modules["nets_of_both"] is own and "nets_of_both.net" not in sys.modules
