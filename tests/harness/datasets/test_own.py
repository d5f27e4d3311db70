"""The user's own images: Parquet files and folders, good ones and bad ones."""

import io
import json
import os
import pickle
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

    @pytest.mark.parametrize("file", ["train.parquet", "part-0.parquet"])
    def test_one_split(self, tmp_path: Path, images: list[np.ndarray[Any, Any]], file: str) -> None:
        write_table(tmp_path / file, [png(image) for image in images], [0, 1, 1, 0])
        data = datasets.load("parquet", path=str(tmp_path))
        assert len(data.train) == len(data.test) == 4 and "one split" in data.notes[0]

    def test_plain_binary_and_grey(self, tmp_path: Path) -> None:
        grey = pixels(0, 4, 4)
        for name in ("train", "test"):
            pq.write_table(pa.table({"picture": [png(grey)] * 2, "digit": [0, 1]}), tmp_path / f"{name}.parquet")
        data = datasets.load("parquet", path=str(tmp_path), image_column="picture", label_column="digit")
        assert data.shape == (1, 4, 4) and data.classes == 2 and data.class_names == ("0", "1")
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
            (lambda file: pq.write_table(pa.table({"picture": [b""], "label": [0]}), file),
             "has no column 'img'; its columns are picture, label"),
            (lambda file: write_table(file, [b"x"], [0], img=pa.array(["x"])),
             "'img' must be binary or struct"),
            (lambda file: write_table(file, [None], [0]), "'img' has 1 rows without an image's bytes"),
            (lambda file: write_table(file, [b"x"], [0.5]), "'label' must hold integers or texts, got double"),
            (lambda file: write_table(file, [b"x"], [-1]), "'label' must hold class indices from 0"),
            (lambda file: write_table(file, [b"x"], pa.array([None], pa.int64())), "'label' must hold class"),
            (lambda file: write_table(file, [], pa.array([], pa.int64())), "holds no images"),
            (lambda file: write_table(file, [b"x"], [0]),
             r"image 0 \(row 0 of .*train\.parquet\) is not a readable image: it is no PNG, JPEG"),
            (lambda file: write_table(file, [TestParquet.PICTURE, png(pixels(0, 5, 4, 3))], [0, 0]),
             r"image 1 \(row 1 of .*\) has the shape \(3, 5, 4\), unlike \(3, 4, 4\) of image 0"),
            (lambda file: write_table(file, [png(pixels(0, 4, 4).astype(np.uint16) * 257)], [0]),
             r"image 0 \(row 0 of .*\) has more than 8 bits a channel"),
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
        with pytest.raises(UserError, match=r"no file in .* matches 'train\*\.parquet' or 'test\*\.parquet' or"):
            datasets.load("parquet", path=str(tmp_path))
        write_table(tmp_path / "test.parquet", [self.PICTURE], [0])
        with pytest.raises(UserError, match=r"no file in .* matches 'tarin\*\.parquet'"):
            datasets.load("parquet", path=str(tmp_path), train="tarin*.parquet")

    def test_test_files_alone(self, tmp_path: Path) -> None:
        """Without training files, the training split is empty; the test files may be called after the validation."""
        write_table(tmp_path / "validation-0.parquet", [self.PICTURE] * 2, [1, 0])
        write_table(tmp_path / ".validation-1.parquet", [self.PICTURE], [2])
        data = datasets.load("parquet", path=str(tmp_path))
        assert (len(data.train), data.test.labels.tolist(), data.classes) == (0, [1, 0], 2)
        copy = pickle.loads(pickle.dumps(data))
        assert copy.train.images([]).shape == (0, 3, 4, 4) and copy.test.images([1]).shape == (1, 3, 4, 4)

    def test_damaged_row_of_a_later_file(self, tmp_path: Path) -> None:
        write_table(tmp_path / "test-0.parquet", [self.PICTURE] * 2, [0, 0])
        write_table(tmp_path / "test-1.parquet", [self.PICTURE, self.PICTURE[:90]], [0, 0])
        data = datasets.load("parquet", path=str(tmp_path))
        with pytest.raises(UserError, match=r"image 3 \(row 1 of .*test-1\.parquet\) is not a readable image"):
            data.test.images([0])

    def test_image_and_labels_are_found(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"labels": [0, 1], "image": [self.PICTURE] * 2}), tmp_path / "test.parquet")
        found = datasets.load("parquet", path=str(tmp_path))
        given = datasets.load("parquet", path=str(tmp_path), image_column="image", label_column="labels")
        assert found.identity == given.identity and found.shape == (3, 4, 4)

    def test_size(self, tmp_path: Path) -> None:
        """Images of several sizes become one; the transform is part of the identity."""
        images = [png(pixels(0, 8, 9, 3)), png(pixels(1, 12, 7, 3))]
        write_table(tmp_path / "test.parquet", images, [0, 1])
        loaded = [
            datasets.load("parquet", path=str(tmp_path), size=6, **more)
            for more in ({}, {"crop": 4}, {"interpolation": "bicubic"}, {"crop": 6})
        ]
        assert [data.shape for data in loaded] == [(3, 6, 6), (3, 4, 4), (3, 6, 6), (3, 6, 6)]
        assert len({data.identity for data in loaded}) == 3 and loaded[0].identity == loaded[3].identity

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

    def test_a_link_to_a_folder_above_is_refused(self, tmp_path: Path) -> None:
        """Images would count many times."""
        write_folder(tmp_path, {"val/ant/1.png": pixels(1, 6, 6, 3), "val/bee/1.png": pixels(2, 6, 6, 3)})
        (tmp_path / "val/ant/again").symlink_to("..", target_is_directory=True)
        with pytest.raises(UserError, match=r"again.* leads to .*val/ant, whose images the class has already"):
            datasets.load("folder", path=str(tmp_path))

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
            ([], "must hold a folder test, val, validation or valid, of test images"),
            (["train/a/1.png", "tests/a/1.png"], "must hold a folder test, val, validation or valid, of test images"),
            (["1.png", "a/b/1.png"], "must hold a folder test, .* or a folder of images for each class"),
            (["train/a/1.png", "test/b/1.png"], "test has the class 'b', which .*train lacks"),
            (["train/1.png", "test/b/1.png"], "train must hold a folder of images for each class"),
            (["test/.b/1.png"], "test must hold a folder of images for each class"),
            (["test/a/1.png", "test/b/._1.png"], "test/b holds no image; remove the folder"),
        ],
        ids=["empty", "no-test", "no-classes", "classes", "no-class", "hidden-class", "empty-class"],
    )
    def test_mistakes(self, tmp_path: Path, files: list[str], message: str) -> None:
        write_folder(tmp_path, {name: pixels(0, 4, 4, 3) for name in files})
        with pytest.raises(UserError, match=message) as caught:
            datasets.load("folder", path=str(tmp_path))
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("name", ["test", "val", "validation", "valid"])
    def test_test_images_alone(self, tmp_path: Path, name: str) -> None:
        write_folder(tmp_path, {f"{name}/{kind}/1.png": pixels(0, 4, 4, 3) for kind in ("ant", "bee")})
        data = datasets.load("folder", path=str(tmp_path))
        assert (len(data.train), data.test.labels.tolist()) == (0, [0, 1])
        assert data.class_names == ("ant", "bee") and data.empty_classes == ()

    def test_hidden_and_foreign_files_are_ignored(self, tmp_path: Path) -> None:
        """What file managers and notebooks leave behind neither becomes a class nor shifts a label."""
        real = {f"{split}/{kind}/1.png": pixels(1, 4, 4, 3) for split in ("train", "test") for kind in ("ant", "bee")}
        write_folder(tmp_path, real)
        before = datasets.load("folder", path=str(tmp_path))
        hidden = (".ipynb_checkpoints/2.png", "ant/._1.png", "bee/.thumbnails/3.png")
        write_folder(
            tmp_path, {f"{split}/{name}": pixels(2, 5, 5, 3) for split in ("train", "test") for name in hidden}
        )
        for name in ("train/.DS_Store", "train/bee/Thumbs.db", "train/labels.csv", ".DS_Store"):
            (tmp_path / name).write_bytes(b"no image")
        after = datasets.load("folder", path=str(tmp_path))
        assert after.identity == before.identity
        assert (after.class_names, after.train.labels.tolist()) == (("ant", "bee"), [0, 1])
        assert before.notes == ()

    def test_files_that_are_no_images_are_counted(self, tmp_path: Path) -> None:
        """torchvision reads no GIF either, but a class that loses half its images must be told."""
        write_folder(tmp_path, {f"test/{kind}/1.png": pixels(1, 4, 4, 3) for kind in ("ant", "bee")})
        write_folder(tmp_path, {f"test/bee/{number}.gif": pixels(number, 4, 4, 3) for number in range(2, 5)})
        (tmp_path / "test/ant/README").write_text("no image")
        [note] = datasets.load("folder", path=str(tmp_path)).notes
        assert note.startswith(f"{tmp_path}: 4 files are left out (3 .gif, 1 without a suffix); images are .jpg, ")
        (tmp_path / "test/bee/1.png").unlink()
        with pytest.raises(UserError, match=r"test/bee holds no image \(\.jpg, .*\); remove the folder"):
            datasets.load("folder", path=str(tmp_path))

    @pytest.mark.parametrize("start", ["", "train/"])
    def test_one_flat_split(self, tmp_path: Path, start: str) -> None:
        """Folders of classes, or a training split alone: these images serve for both, and the data set says so."""
        write_folder(tmp_path, {f"{start}{kind}/1.png": pixels(0, 4, 4, 3) for kind in ("ant", "bee")})
        data = datasets.load("folder", path=str(tmp_path))
        assert (data.class_names, data.train.labels.tolist()) == (("ant", "bee"), [0, 1])
        assert data.train.names == data.test.names == [f"{start}ant/1.png", f"{start}bee/1.png"]
        assert torch.equal(data.train.images([1]), data.test.images([1]))
        assert data.notes[0].startswith(f"{tmp_path} has one split, which serves for training and test")

    def test_nested_files_in_torchvision_s_order(self, tmp_path: Path) -> None:
        """Indices of published rows keep their meaning: the order is that of torchvision's ImageFolder."""
        names = [f"{kind}/{name}" for kind in ("b", "A", "a") for name in ("2.png", "10.PNG", "x/1.bmp", "x y/1.tif")]
        write_folder(tmp_path, {f"test/{name}": pixels(seed, 4, 4, 3) for seed, name in enumerate(names)})
        data = datasets.load("folder", path=str(tmp_path))
        theirs = torchvision.datasets.ImageFolder(str(tmp_path / "test"))
        assert (data.class_names, data.test.labels.tolist()) == (tuple(theirs.classes), theirs.targets)
        expected = np.stack([np.array(image) for image, _ in theirs])
        assert torch.equal(data.test.images(range(12)), torch.from_numpy(expected).permute(0, 3, 1, 2) / 255)

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda file: (file.unlink(), file.symlink_to("/nowhere")), "1.png cannot be read: No such file"),
            (lambda file: (file.unlink(), os.mkfifo(file)), "1.png is no regular file"),
            (lambda file: file.write_bytes(file.read_bytes()[:60]), "1.png is not a readable image"),
        ],
        ids=["dangling", "pipe", "cut"],
    )
    def test_bad_files(self, tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
        write_folder(tmp_path, {"test/a/1.png": pixels(0, 4, 4, 3)})
        damage(tmp_path / "test/a/1.png")
        with pytest.raises(UserError, match=message):
            datasets.load("folder", path=str(tmp_path))
