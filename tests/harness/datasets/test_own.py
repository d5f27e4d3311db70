"""The user's own images: Parquet files and folders, good ones and bad ones."""

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from eadbench.harness import datasets
from eadbench.harness.errors import UserError
from tests.harness.datasets.sample_images import iter_tables, pixels, png, write_folder, write_table


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
