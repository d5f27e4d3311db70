"""Built-in data sets, splits, and how data sets are named."""

import inspect
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch.utils.data import DataLoader, Subset

from eadbench.harness import datasets
from eadbench.harness.errors import UserError
from tests.harness.datasets.sample_images import in_unit_range, pixels


class TestDigits:
    def test_split(self) -> None:
        data = datasets.load("digits")
        assert (data.name, data.identity, data.classes, data.shape) == ("digits", "digits", 10, (1, 8, 8))
        assert data.class_names == tuple("0123456789")
        assert (len(data.train), len(data.test)) == (1397, 400)
        everything = torch.cat([split.images(range(len(split))) for split in (data.train, data.test)])
        assert in_unit_range(everything)
        from sklearn.datasets import load_digits

        original = torch.from_numpy(load_digits().images).float().flatten(1) / 16
        found = everything.flatten(1)
        assert sorted(found.tolist()) == sorted(original.tolist())
        share = data.test.labels.bincount() / torch.cat([data.train.labels, data.test.labels]).bincount()
        assert ((share - 400 / 1797).abs() < 0.01).all()  # stratified

    def test_always_the_same(self) -> None:
        """The indices of published rows must keep their meaning."""
        one, two = datasets.load("digits"), datasets.load("digits")
        assert torch.equal(one.test.images(range(400)), two.test.images(range(400)))
        assert one.test.labels[:12].tolist() == [0, 9, 1, 5, 3, 7, 0, 9, 8, 4, 5, 2]


class TestSplit:
    def test_one_batch_and_loader_agree(self) -> None:
        split = datasets.load("digits").test
        image, label = split[7]
        assert image.shape == (1, 8, 8) and type(label) is int
        images, labels = next(iter(DataLoader(split, batch_size=9)))
        assert torch.equal(images[7], image) and labels[7] == label
        assert torch.equal(images, split.images(range(9))) and torch.equal(labels, split.labels[:9])
        picked, _ = next(iter(DataLoader(Subset(split, [7, 3]), batch_size=2)))
        assert torch.equal(picked, split.images([7, 3]))

    def test_what_is_given_is_a_copy(self) -> None:
        split = datasets.load("digits").test
        before = split.images([0]).clone()
        split.images([0]).zero_()
        split[0][0].zero_()
        assert torch.equal(split.images([0]), before)

    def test_survives_pickling(self) -> None:
        split = datasets.load("digits").test
        assert torch.equal(pickle.loads(pickle.dumps(split)).images([3]), split.images([3]))

    @pytest.mark.parametrize("index", [-1, 400])
    def test_no_such_image(self, index: int) -> None:
        with pytest.raises(IndexError, match=rf"image {index} is not in 0\.\.399"):
            datasets.load("digits").test[index]


class TestTorchvision:
    def test_mnist(self, real_data: Path) -> None:
        if not sorted((real_data / "MNIST" / "raw").glob("*.gz")):
            pytest.skip(f"no MNIST in {real_data}")
        data = datasets.load("mnist", root=str(real_data), download=False)
        assert (data.identity, data.classes, data.shape) == ("mnist", 10, (1, 28, 28))
        assert (len(data.train), len(data.test)) == (60_000, 10_000)
        assert data.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
        assert in_unit_range(data.test.images(range(100)))
        assert data.train.images(range(1000)).mean().item() == pytest.approx(0.1307, abs=0.005)

    def test_cifar10(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two made-up batches in the original's layout: rows of 3072 bytes, red before green before blue."""
        kind = torchvision.datasets.CIFAR10
        monkeypatch.setattr(kind, "train_list", [["data_batch_1", None]])
        monkeypatch.setattr(kind, "test_list", [["test_batch", None]])
        monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": None})
        folder = tmp_path / kind.base_folder
        folder.mkdir()
        names = ["airplane", *"bcdefghi", "truck"]
        (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
        for seed, file in enumerate(["data_batch_1", "test_batch"]):
            content = {"data": pixels(seed, 4, 3072), "labels": [3, 9, 0, 3]}
            (folder / file).write_bytes(pickle.dumps(content))
        data = datasets.load("cifar10", root=str(tmp_path), download=False)
        assert (data.identity, data.shape, data.class_names) == ("cifar10", (3, 32, 32), tuple(names))
        assert data.test.labels.tolist() == [3, 9, 0, 3]
        expected = torch.from_numpy(pixels(1, 4, 3072)).view(4, 3, 32, 32) / 255
        assert torch.equal(data.test.images(range(4)), expected)

    @pytest.mark.parametrize(("name", "title"), [("mnist", "MNIST"), ("cifar10", "CIFAR-10")])
    def test_absent(self, name: str, title: str, tmp_path: Path) -> None:
        with pytest.raises(
            UserError, match=rf"{title} is not in root '{tmp_path}' .*; put torchvision's files"
        ) as caught:
            datasets.load(name, root=str(tmp_path), download=False)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("name", ["mnist", "cifar10"])
    def test_no_network(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def unreachable(*_: object, **__: object) -> None:
            raise OSError("Network is\nunreachable")

        monkeypatch.setattr("urllib.request.urlopen", unreachable)
        with pytest.raises(UserError, match=r"was not fetched .*Network is unreachable") as caught:
            datasets.load(name, root=str(tmp_path))
        assert "\n" not in str(caught.value)
        assert capsys.readouterr().out == ""


class TestLoad:
    def test_a_spec_s_mapping(self) -> None:
        """Every loader leaves `name` to `load`, so that a spec's mapping can be passed as it is."""
        assert datasets.load(name="digits").name == "digits"
        assert not any("name" in inspect.signature(loader).parameters for loader in datasets.DATASETS.table.values())

    @pytest.mark.parametrize(
        ("name", "parameters", "message"),
        [
            (
                "minst",
                {},
                r"must name a known data set: mnist, cifar10, digits, parquet, folder, .* \(did you mean mnist\?\)",
            ),
            (
                "digits",
                {"root": "x"},
                "data set 'digits': got an unexpected .* 'root'; it takes no parameters",
            ),
            (
                "folder",
                {},
                "data set 'folder': missing a required argument: 'path'; it takes path: str, called",
            ),
            ("mnist", {"rooot": "x"}, "'rooot'; it takes root: str = 'data', download: bool = True"),
            ("folder", {"path": "/nowhere"}, "path must be a folder, got '/nowhere'"),
            ("parquet", {"path": "/nowhere"}, "path must be a folder, got '/nowhere'"),
        ],
    )
    def test_mistakes(self, name: str, parameters: dict[str, Any], message: str) -> None:
        with pytest.raises(UserError, match=message) as caught:
            datasets.load(name, **parameters)
        assert "\n" not in str(caught.value)
