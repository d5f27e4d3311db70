"""Weights files: both kinds are read, and anything else is refused without running it."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from eadbench import models


class TestLoadWeights:
    @pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
    def test_both_kinds_of_file(self, tmp_path: Path, suffix: str) -> None:
        given, model = (models.build("digits", num_classes=10) for _ in range(2))
        file = tmp_path / f"weights{suffix}"
        (save_file if suffix == ".safetensors" else torch.save)(given.state_dict(), file)
        models.load_weights(model, file)
        images = torch.rand(2, 1, 8, 8)
        assert torch.equal(model.eval()(images), given.eval()(images))

    def test_a_plain_torchvision_file(self, tmp_path: Path) -> None:
        plain = torchvision.models.resnet18(num_classes=5)
        torch.save(plain.state_dict(), tmp_path / "resnet.pt")
        model = models.build("resnet18", num_classes=5)
        models.load_weights(model, tmp_path / "resnet.pt")
        torch.testing.assert_close(dict(model.get_submodule("network").state_dict()), dict(plain.state_dict()))

    def test_a_pickle_is_refused_and_not_run(self, tmp_path: Path) -> None:
        class Trap:
            def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
                return os.mkdir, (str(tmp_path / "sprung"),)

        (tmp_path / "pickle.pt").write_bytes(pickle.dumps(Trap(), protocol=2))
        torch.save(Trap(), tmp_path / "zipped.pt")
        torch.save(models.build("digits", num_classes=10), tmp_path / "module.pt")
        (tmp_path / "pickle.safetensors").write_bytes(pickle.dumps(Trap(), protocol=2))
        for name in ("pickle.pt", "zipped.pt", "module.pt", "pickle.safetensors"):
            with pytest.raises(ValueError, match=rf"{name} (must be a state dict|is not a readable)") as caught:
                models.load_weights(models.build("digits", num_classes=10), tmp_path / name)
            assert "\n" not in str(caught.value)
        assert not (tmp_path / "sprung").exists()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda state: state.pop("features.0.bias"), "it lacks features.0.bias"),
            (lambda state: state.update(extra=torch.zeros(1)), "it has the unknown extra"),
            (lambda state: state.update({"features.0.bias": torch.zeros(3)}),
             r"it has features.0.bias \(3,\), not \(16,\)"),
            (lambda state: [state.update({f"x_{name}": state.pop(name)}) for name in list(state)],
             r"it lacks features\.0\.weight, features\.0\.bias, features\.2\.weight and 11 more; "
             r"it has the unknown x_features\.0\.weight, .* and 11 more$"),
            (lambda state: state.update({"features.0.bias": torch.full((16,), torch.nan)}),
             r"w\.pt has values of features\.0\.bias that are not finite"),
        ],
        ids=["missing", "unknown", "shape", "many", "not finite"],
    )  # fmt: skip
    def test_wrong_names_and_shapes(
        self, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
    ) -> None:
        state = dict(models.build("digits", num_classes=10).state_dict())
        change(state)
        torch.save(state, tmp_path / "w.pt")
        with pytest.raises(ValueError, match=message):
            models.load_weights(models.build("digits", num_classes=10), tmp_path / "w.pt")

    def test_a_safetensors_file_with_another_suffix(self, tmp_path: Path) -> None:
        save_file(models.build("digits", num_classes=10).state_dict(), tmp_path / "w.bin")
        assert models.load_weights(models.build("digits", num_classes=10), tmp_path / "w.bin") == []

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda tensor: tensor.double() * 1e300, "not finite"),
            (lambda tensor: tensor.to(torch.int8), "it has features.0.bias as int8"),
            (lambda tensor: tensor.to_sparse(), "it has features.0.bias as sparse_coo"),
        ],
        ids=["too large for float32", "quantised", "sparse"],
    )
    def test_values_that_do_not_convert(
        self, tmp_path: Path, change: Callable[[torch.Tensor], torch.Tensor], message: str
    ) -> None:
        state = dict(models.build("digits", num_classes=10).state_dict())
        state["features.0.bias"] = change(state["features.0.bias"] + 1)
        torch.save(state, tmp_path / "w.pt")
        with pytest.raises(ValueError, match=message):
            models.load_weights(models.build("digits", num_classes=10), tmp_path / "w.pt")

    @pytest.mark.parametrize("name", ["absent.pt", "absent.safetensors"])
    def test_absent(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ValueError, match=f"{name} (cannot be read|is not a readable)"):
            models.load_weights(models.build("digits", num_classes=10), tmp_path / name)

    def test_sha256_of_file(self, tmp_path: Path) -> None:
        (tmp_path / "abc").write_bytes(b"abc")
        assert models.sha256_of_file(tmp_path / "abc").startswith("ba7816bf8f01cfea")  # FIPS 180-2, appendix B.1
