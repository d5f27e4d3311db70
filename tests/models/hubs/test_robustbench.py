"""RobustBench's networks, with random weights in its own layout of files."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from eadbench import models


@pytest.fixture(autouse=True, scope="module")
def _installed() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package and of those that it imports
        try:
            import eadbench.models.hubs.robustbench  # noqa: F401
        except ImportError as error:
            pytest.skip(f"robustbench cannot be imported: {error}")


def recipe(arch: str, **changes: Any) -> models.Recipe:
    fields: dict[str, Any] = {"parameters": {}, "num_classes": 10, "weights": None, **changes}
    hub = models.pin(arch, fields["parameters"], trained=fields["weights"] is not None)
    return models.Recipe(arch=arch, trained_on="x", defense={"name": "none"}, training=None, hub=hub, **fields)


def test_published_weights_are_read_from_a_folder(tmp_path: Path) -> None:
    name = "Wong2020Fast"  # a ResNet-18, the smallest
    given = models.build(f"robustbench:{name}", num_classes=10).get_submodule("network").eval()
    file = tmp_path / "cifar10" / "Linf" / f"{name}.pt"
    file.parent.mkdir(parents=True)
    torch.save(given.state_dict(), file)
    made = recipe(f"robustbench:{name}", parameters={"folder": str(tmp_path)})
    model = models.build_network(made).eval()
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(images), given(images))
        models.save(tmp_path / "stored", made, model, {})
        file.unlink()
        torch.testing.assert_close(models.load(tmp_path / "stored")[0](images), model(images))


@pytest.mark.parametrize(
    ("arch", "parameters", "message"),
    [
        ("robustbench:Nobody2020", {}, "robustbench has no such network for cifar10 and Linf"),
        ("robustbench:Wong2020Fast", {"dataset": "mnist"}, "'mnist' is not a valid BenchmarkDataset"),
        ("robustbench:Wong2020Fast", {"depth": 3}, "takes the parameters dataset, threat_model and folder, not depth"),
    ],
)
def test_mistakes_are_one_line(arch: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        models.build(arch, num_classes=10, **parameters)


def test_searched() -> None:
    assert "robustbench:Carmon2019Unlabeled" in models.search("carmon")
