"""Every kind of data set: what it holds, and what is said of one that is not as it should be."""

import gzip
import inspect
import io
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, Subset

from eadbench.harness import datasets
from eadbench.harness.errors import UserError


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data sets: EADBENCH_DATA, or shared/data beside the repository."""
    root = Path(os.environ.get("EADBENCH_DATA", Path(__file__).parents[4] / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no real data sets: EADBENCH_DATA is not set and {root} does not exist")
    return root


def pixels(seed: int, *shape: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png(image: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def in_unit_range(images: torch.Tensor) -> bool:
    return images.dtype == torch.float32 and bool(images.min() >= 0) and bool(images.max() <= 1)


def write_table(path: Path, images: list[Any], labels: list[Any], **changes: Any) -> None:
    """A Parquet file as the hub writes it."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    encoded = [None if image is None else {"bytes": image, "path": None} for image in images]
    columns = {"img": pa.array(encoded, kind), "label": pa.array(labels), **changes}
    pq.write_table(pa.table(columns), path)


def write_folder(root: Path, files: dict[str, np.ndarray[Any, Any]]) -> None:
    for name, image in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / name)


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
    def test_mnist(self, real_data: Path, tmp_path: Path) -> None:
        packed = sorted((real_data / "MNIST" / "raw").glob("*.gz"))
        if not packed:
            pytest.skip(f"no MNIST in {real_data}")
        raw = tmp_path / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for file in packed:
            with gzip.open(file) as source, open(raw / file.stem, "wb") as target:
                shutil.copyfileobj(source, target)
        data = datasets.load("mnist", root=str(tmp_path), download=False)
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


class TestParquet:
    def test_real_cifar10(self, real_data: Path, tmp_path: Path) -> None:
        if not (real_data / "cifar10" / "test.parquet").is_file():
            pytest.skip(f"no CIFAR-10 in {real_data}")
        for name in ("train", "test"):
            with pq.ParquetFile(real_data / "cifar10" / f"{name}.parquet") as file:
                pq.write_table(next(iter_tables(file, 50)), tmp_path / f"{name}.parquet")
        data = datasets.load("parquet", path=str(tmp_path), called="cifar10-jpeg")
        assert data.name == "cifar10-jpeg" and data.identity.startswith("cifar10-jpeg@")
        assert (data.shape, len(data.train), len(data.test)) == ((3, 32, 32), 50, 50)
        encoded = pq.read_table(tmp_path / "test.parquet").column("img")[5].as_py()["bytes"]
        by_pil = torch.from_numpy(np.array(Image.open(io.BytesIO(encoded)))).permute(2, 0, 1) / 255
        assert torch.equal(data.test[5][0], by_pil)

    @pytest.fixture
    def images(self) -> list[np.ndarray[Any, Any]]:
        return [pixels(seed, 5, 6, 3) for seed in range(4)]

    def test_hub_layout(self, tmp_path: Path, images: list[np.ndarray[Any, Any]]) -> None:
        """Several files a split, in the order of their names; the class names of the metadata."""
        features = {"info": {"features": {"label": {"names": ["cat", "dog", "eel"], "_type": "ClassLabel"}}}}
        for part, rows in enumerate([slice(0, 2), slice(2, 4)]):
            file = tmp_path / f"train-0000{part}.parquet"
            write_table(file, [png(image) for image in images[rows]], [part, 1])
            table = pq.read_table(file).replace_schema_metadata({"huggingface": json.dumps(features)})
            pq.write_table(table, file)
        write_table(tmp_path / "test-00000.parquet", [png(images[0])], [2])
        data = datasets.load("parquet", path=str(tmp_path))
        assert (data.name, data.classes, data.class_names) == (tmp_path.name, 3, ("cat", "dog", "eel"))
        assert data.shape == (3, 5, 6) and data.train.labels.tolist() == [0, 1, 1, 1]
        expected = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 255
        assert torch.equal(data.train.images(range(4)), expected)
        assert torch.equal(pickle.loads(pickle.dumps(data.test)).images([0]), expected[:1])

    def test_plain_binary_and_grey(self, tmp_path: Path) -> None:
        grey = pixels(0, 4, 4)
        for name in ("train", "test"):
            pq.write_table(pa.table({"image": [png(grey)], "digit": [4]}), tmp_path / f"{name}.parquet")
        data = datasets.load("parquet", path=str(tmp_path), image_column="image", label_column="digit")
        assert data.shape == (1, 4, 4) and data.classes == 5 and data.class_names == tuple("01234")
        assert torch.equal(data.test[0][0], torch.from_numpy(grey)[None] / 255)

    def test_identity_follows_the_files(self, tmp_path: Path, images: list[np.ndarray[Any, Any]]) -> None:
        for folder, count in (("a", 1), ("b", 1), ("c", 2)):
            (tmp_path / folder).mkdir()
            for name in ("train", "test"):
                write_table(tmp_path / folder / f"{name}.parquet", [png(images[0])] * count, [0] * count)
        identities = [datasets.load("parquet", path=str(tmp_path / folder), called="mine").identity for folder in "abc"]
        assert identities[0] == identities[1] != identities[2]

    PICTURE = png(pixels(0, 4, 4, 3))

    @pytest.mark.parametrize(
        ("write", "message"),
        [
            (lambda file: file.write_bytes(b"no"), "is not a readable Parquet file"),
            (lambda file: pq.write_table(pa.table({"image": [b""], "label": [0]}), file),
             "has no column 'img'; its columns are image, label"),
            (lambda file: write_table(file, [b"x"], [0], img=pa.array(["x"])),
             "'img' must be binary or struct"),
            (lambda file: write_table(file, [None], [0]), "'img' has 1 rows without an image's bytes"),
            (lambda file: write_table(file, [b"x"], [0.5]), "'label' must hold integers, got double"),
            (lambda file: write_table(file, [b"x"], [-1]), "'label' must hold class indices from 0"),
            (lambda file: write_table(file, [b"x"], pa.array([None], pa.int64())), "'label' must hold class"),
            (lambda file: write_table(file, [], pa.array([], pa.int64())), "holds no images"),
            (lambda file: write_table(file, [b"x"], [0]),
             r"image 0 of .*train\*.parquet is not a readable image"),
            (lambda file: write_table(file, [TestParquet.PICTURE, png(pixels(0, 5, 4, 3))], [0, 0]),
             r"image 1 of .* has the shape \(3, 5, 4\), unlike \(3, 4, 4\) of image 0 of"),
            (lambda file: write_table(file, [png(pixels(0, 4, 4).astype(np.uint16) * 257)], [0]),
             "image 0 of .* has more than 8 bits a channel"),
        ],
        ids=["not-parquet", "column", "type", "null-image", "float-label", "negative", "null-label", "empty",
             "not-an-image", "sizes", "16-bit"],
    )  # fmt: skip
    def test_mistakes(self, tmp_path: Path, write: Callable[[Path], None], message: str) -> None:
        write(tmp_path / "train.parquet")
        write_table(tmp_path / "test.parquet", [self.PICTURE], [0])
        with pytest.raises(UserError, match=message) as caught:
            datasets.load("parquet", path=str(tmp_path)).train.images([0])
        assert "\n" not in str(caught.value)

    def test_no_file_matches(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"no file in .* matches 'train\*\.parquet'"):
            datasets.load("parquet", path=str(tmp_path))

    def test_more_labels_than_names(self, tmp_path: Path) -> None:
        features = {"info": {"features": {"label": {"names": ["cat"]}}}}
        for name in ("train", "test"):
            write_table(tmp_path / f"{name}.parquet", [self.PICTURE], [1])
        table = pq.read_table(tmp_path / "train.parquet")
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
        pq.write_table(table, tmp_path / "train.parquet")
        with pytest.raises(UserError, match="label 1 is not among the 1 named classes"):
            datasets.load("parquet", path=str(tmp_path))


def iter_tables(file: pq.ParquetFile, rows: int) -> Any:
    for batch in file.iter_batches(batch_size=rows):
        yield pa.Table.from_batches([batch])


class TestFolder:
    def test_layout(self, tmp_path: Path) -> None:
        """`val` serves as the test split; a class that it lacks does not shift the others' labels."""
        files = {
            "train/ant/1.png": pixels(1, 6, 6, 3),
            "train/bee/1.png": pixels(2, 6, 6, 3),
            "train/bee/2.png": pixels(3, 6, 6, 3),
            "val/bee/9.png": pixels(4, 6, 6, 3),
        }
        write_folder(tmp_path, files)
        data = datasets.load("folder", path=str(tmp_path))
        assert (data.name, data.classes, data.class_names) == (tmp_path.name, 2, ("ant", "bee"))
        assert data.shape == (3, 6, 6)
        assert data.train.labels.tolist() == [0, 1, 1] and data.test.labels.tolist() == [1]
        expected = torch.from_numpy(np.stack(list(files.values()))).permute(0, 3, 1, 2) / 255
        assert torch.equal(data.train.images([2, 0]), expected[[2, 0]])
        assert torch.equal(pickle.loads(pickle.dumps(data.test)).images([0]), expected[3:])

    def test_size(self, tmp_path: Path) -> None:
        """The shorter side to the size, then the middle: three stripes become the middle one."""
        stripes = np.zeros((8, 24, 3), dtype=np.uint8)
        stripes[:, 8:16] = 255
        write_folder(tmp_path, {"train/a/1.png": stripes, "test/a/1.png": pixels(0, 30, 20, 3)})
        data = datasets.load("folder", path=str(tmp_path), size=8)
        assert data.shape == (3, 8, 8) and (data.train.images([0]) == 1).all()
        assert data.test.images([0]).shape == (1, 3, 8, 8)
        half = datasets.load("folder", path=str(tmp_path), size=4)
        assert half.shape == (3, 4, 4) and half.identity != data.identity

    def test_grey(self, tmp_path: Path) -> None:
        write_folder(tmp_path, {"train/a/1.png": pixels(0, 4, 4), "test/a/1.png": pixels(1, 4, 4, 3)})
        data = datasets.load("folder", path=str(tmp_path))
        assert data.shape == (1, 4, 4)
        with pytest.raises(UserError, match=r"1\.png is in colour, while others .* are grey"):
            data.test.images([0])

    def test_one_grey_image_among_coloured_ones(self, tmp_path: Path) -> None:
        write_folder(tmp_path, {"train/a/1.png": pixels(0, 4, 4), "train/a/2.png": pixels(1, 4, 4, 3)})
        write_folder(tmp_path, {"test/a/1.png": pixels(1, 4, 4, 3)})
        assert datasets.load("folder", path=str(tmp_path)).train.images([0, 1]).shape == (2, 3, 4, 4)

    @pytest.mark.parametrize(
        ("files", "message"),
        [
            ([], "train must hold a folder of images for each class"),
            (["train/a/1.png"], "val must hold a folder of images for each class"),
            (["train/a/1.png", "test/b/1.png"], "test has the class 'b', which .*train lacks"),
        ],
        ids=["empty", "no-test", "classes"],
    )
    def test_mistakes(self, tmp_path: Path, files: list[str], message: str) -> None:
        write_folder(tmp_path, {name: pixels(0, 4, 4, 3) for name in files})
        with pytest.raises(UserError, match=message) as caught:
            datasets.load("folder", path=str(tmp_path))
        assert "\n" not in str(caught.value)


class TestLoad:
    def test_a_spec_s_mapping(self) -> None:
        """Every loader leaves `name` to `load`, so that a spec's mapping can be passed as it is."""
        assert datasets.load(name="digits").name == "digits"
        assert not any("name" in inspect.signature(loader).parameters for loader in datasets.DATASETS.values())

    @pytest.mark.parametrize(
        ("name", "parameters", "message"),
        [
            (
                "minst",
                {},
                r"must name a known data set: digits, mnist, cifar10, parquet, folder, .* \(did you mean mnist\?\)",
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
