"""torchvision's data sets by name, from tiny files in the formats that torchvision reads."""

import gzip
import inspect
import json
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from scipy.io import savemat

from eadbench.harness import datasets
from eadbench.harness.datasets.torchvision_sets import SPLITS, torchvision_set
from eadbench.harness.errors import UserError
from eadbench.harness.spec.parameters import parameters_of, validated
from eadbench.models.code import NO_CODE
from tests.harness.datasets.sample_images import pixels, write_folder

TRAIN, TEST = pixels(0, 12, 6, 7), pixels(1, 11, 6, 7)
LABELS = {"train": [*range(10), 0, 0], "test": [*range(10), 3]}


def idx(array: np.ndarray[Any, Any]) -> bytes:
    """An array in the format of MNIST."""
    return struct.pack(f">HBB{array.ndim}i", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_mnist(folder: Path, train: str, test: str) -> None:
    folder.mkdir(parents=True)
    for start, images, labels in ((train, TRAIN, LABELS["train"]), (test, TEST, LABELS["test"])):
        (folder / f"{start}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{start}-labels-idx1-ubyte").write_bytes(idx(np.array(labels, dtype=np.uint8)))


def loaded(kind: str, root: Path, **parameters: Any) -> datasets.DataSet:
    return datasets.load(f"torchvision:{kind}", root=str(root), download=False, **parameters)


@pytest.fixture(autouse=True)
def no_checksums(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torchvision take small files for its own."""
    for module in ("svhn", "mnist", "flowers102"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.check_integrity", lambda path, *_: Path(path).is_file())


@pytest.mark.parametrize("no_code", ["", "1"])
def test_fashion_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_code: str) -> None:
    """A name with a prefix is no import path, which --no-code would refuse."""
    monkeypatch.setenv(NO_CODE, no_code)
    write_mnist(tmp_path / "FashionMNIST" / "raw", "train", "t10k")
    data = loaded("FashionMNIST", tmp_path)
    assert (data.name, data.shape, data.class_names[:2]) == ("FashionMNIST", (1, 6, 7), ("T-shirt/top", "Trouser"))
    copy = pickle.loads(pickle.dumps(data))
    for split, images, name in ((copy.train, TRAIN, "train"), (copy.test, TEST, "test")):
        assert torch.equal(split.images(range(len(images))), torch.from_numpy(images)[:, None] / 255)
        assert split.labels.tolist() == LABELS[name]


@pytest.mark.parametrize(("kind", "starts"), [("MNIST", ("train", "t10k")), ("EMNIST", ("emnist-digits-{}",) * 2)])
def test_gzipped_files_are_read_where_they_are(tmp_path: Path, kind: str, starts: tuple[str, str]) -> None:
    """Of a folder that has only the files with .gz, which may be read-only; a cut file is named."""
    raw = tmp_path / kind / "raw"
    write_mnist(raw, *(start.format(name) for start, name in zip(starts, ("train", "test"), strict=True)))
    options: dict[str, Any] = {"options": {"split": "digits"}} if kind == "EMNIST" else {}
    plain = loaded(kind, tmp_path, **options)
    for file in list(raw.iterdir()):
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    before = sorted(raw.iterdir())
    packed = loaded(kind, tmp_path, **options)
    assert packed.identity == plain.identity and sorted(raw.iterdir()) == before
    for ours, theirs in ((packed.train, plain.train), (packed.test, plain.test)):
        assert torch.equal(ours.images(range(len(ours))), theirs.images(range(len(theirs))))
        assert torch.equal(ours.labels, theirs.labels)
    cut = next(file for file in before if "images" in file.name)
    cut.write_bytes(cut.read_bytes()[:-9])
    with pytest.raises(UserError, match=rf"{cut} is no readable IDX file"):
        loaded(kind, tmp_path, **options)


def test_emnist_with_options(tmp_path: Path) -> None:
    """Letters are numbered from 1: the class 0, `N/A`, has no image, which is told or mapped away."""
    write_mnist(tmp_path / "EMNIST" / "raw", "emnist-letters-train", "emnist-letters-test")
    for name in ("train", "test"):
        labels = np.resize(np.arange(1, 27, dtype=np.uint8), len(LABELS[name]))
        (tmp_path / f"EMNIST/raw/emnist-letters-{name}-labels-idx1-ubyte").write_bytes(idx(labels))
    data = loaded("EMNIST", tmp_path, options={"split": "letters"})
    assert data.class_names[:3] == ("N/A", "a", "b") and data.empty_classes == (0, *range(13, 27))
    mapped = loaded("EMNIST", tmp_path, options={"split": "letters"}, labels="remap")
    assert mapped.class_names == tuple("abcdefghijkl") and mapped.identity != data.identity
    with pytest.raises(UserError, match=r"EMNIST does not take these options: .*missing 1 required .*'split'"):
        loaded("EMNIST", tmp_path)


def test_svhn(tmp_path: Path) -> None:
    """SVHN calls the digit 0 class 10, which torchvision mends; `extra` is a third split."""
    images = pixels(0, 32, 32, 3, 10)
    for name in ("train", "test", "extra"):
        savemat(tmp_path / f"{name}_32x32.mat", {"X": images, "y": np.roll(np.arange(1, 11), len(name))[:, None]})
    data = loaded("SVHN", tmp_path)
    assert (data.classes, data.shape, data.test.labels.tolist()) == (10, (3, 32, 32), [7, 8, 9, 0, 1, 2, 3, 4, 5, 6])
    assert torch.equal(data.test[2][0], torch.from_numpy(images[..., 2]).permute(2, 0, 1) / 255)
    extra = loaded("SVHN", tmp_path, train="extra")
    assert extra.train.labels.tolist() == [6, 7, 8, 9, 0, 1, 2, 3, 4, 5] and extra.identity != data.identity


def write_gtsrb(root: Path) -> None:
    """Signs of several sizes: folders of PPM files, and a table of the test images."""
    base = root / "gtsrb"
    train = {f"GTSRB/Training/{kind:05}/{n}.ppm": pixels(n, 8 + n, 9, 3) for kind in range(3) for n in range(2)}
    write_folder(base, train | {f"GTSRB/Final_Test/Images/{n:05}.ppm": pixels(n, 12, 9 + n, 3) for n in range(4)})
    rows = [f"{n:05}.ppm;9;9;0;0;9;9;{label}" for n, label in enumerate([2, 0, 1, 1])]
    header = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
    (base / "GT-final_test.csv").write_text("\n".join([header, *rows]))


def test_gtsrb(tmp_path: Path) -> None:
    write_gtsrb(tmp_path)
    with pytest.raises(UserError, match=r"has the shape .*; all images of a data set must be of one size; give a size"):
        loaded("GTSRB", tmp_path).test.images([0, 1])
    data = loaded("GTSRB", tmp_path, size=8, called="signs")
    assert (data.name, data.shape, data.test.labels.tolist()) == ("signs", (3, 8, 8), [2, 0, 1, 1])
    assert data.train.labels.tolist() == [0, 0, 1, 1, 2, 2] and data.train.images(range(6)).shape == (6, 3, 8, 8)


def test_a_file_that_only_looks_like_a_sign(tmp_path: Path) -> None:
    """Files are opened as our own: none reaches the programs that Pillow would start for it."""
    write_gtsrb(tmp_path)
    with (tmp_path / "gtsrb/GTSRB/Final_Test/Images/00000.ppm").open("wb") as file:
        Image.fromarray(pixels(0, 8, 8, 3)).save(file, "EPS")
    with pytest.raises(UserError, match=r"00000\.ppm is not a readable image: it is no PNG"):
        loaded("GTSRB", tmp_path, size=8).test.images([0])


def test_flowers(tmp_path: Path) -> None:
    """Files and labels in lists of their own."""
    base = tmp_path / "flowers-102"
    write_folder(base, {f"jpg/image_{n:05}.jpg": pixels(n, 9, 9, 3) for n in range(1, 5)})
    savemat(base / "imagelabels.mat", {"labels": [[1, 2, 2, 1]]})
    savemat(base / "setid.mat", {"trnid": [[1, 2]], "valid": [[4]], "tstid": [[3, 4]]})
    data = loaded("Flowers102", tmp_path)
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == ([0, 1], [1, 0])
    expected = np.array(Image.open(base / "jpg/image_00003.jpg"))
    assert torch.equal(data.test[0][0], torch.from_numpy(expected).permute(2, 0, 1) / 255)


def test_food(tmp_path: Path) -> None:
    base = tmp_path / "food-101"
    write_folder(base, {f"images/{kind}/{n}.jpg": pixels(n, 9, 9, 3) for kind in ("pie", "soup") for n in range(2)})
    for split, n in (("train", 0), ("test", 1)):
        (base / "meta").mkdir(exist_ok=True)
        (base / "meta" / f"{split}.json").write_text(json.dumps({kind: [f"{kind}/{n}"] for kind in ("soup", "pie")}))
    data = loaded("Food101", tmp_path)
    assert (data.class_names, data.test.labels.tolist()) == (("pie", "soup"), [1, 0])


@pytest.mark.parametrize("kind", SPLITS)
def test_the_table_is_torchvision_s(kind: str) -> None:
    """Every entry is a class of torchvision that takes the split as the table has it."""
    known: set[str] = set()
    for base in getattr(torchvision.datasets, kind).__mro__:
        known |= set(inspect.signature(base.__init__).parameters)
    assert ("train" if SPLITS[kind] is None else "split") in known


def test_a_spec_s_parameters() -> None:
    model = parameters_of(torchvision_set("EMNIST"))
    values = validated(model, {"options": {"split": "letters"}, "size": 8}).model_dump()
    assert values["options"] == {"split": "letters"} and values["root"] == "data" and "kind" not in values
    assert (torchvision_set("EMNIST").__doc__ or "").startswith("torchvision's EMNIST.")


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        (
            "SVNH",
            {},
            r"torchvision: must be followed by one of CIFAR10, .*; got 'SVNH' \(did you mean torchvision:SVHN",
        ),
        ("CocoDetection", {}, "must be followed by one of"),
        ("SVHN", {}, "torchvision:SVHN is not in root '.*' and was not fetched .*; put torchvision's files there"),
        ("SVHN", {"train": "tarin"}, "torchvision:SVHN is not in root"),
        ("SVHN", {"train": "test"}, "train and test are both 'test' of torchvision:SVHN"),
        ("KMNIST", {"test": "val"}, "torchvision:KMNIST has no splits to choose from"),
        ("SVHN", {"options": {"transform": "x"}}, "options must not have 'transform'"),
        ("SVHN", {"options": {"folds": 1}}, "torchvision:SVHN does not take these options"),
        ("SVHN", {"folds": 1}, "data set 'torchvision:SVHN': got an unexpected keyword argument 'folds'"),
    ],
)
def test_mistakes(tmp_path: Path, name: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        loaded(name, tmp_path, **parameters)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["torchvision.datasets:SVHN", "other:SVHN"])
def test_other_colons_are_import_paths(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NO_CODE, "1")
    with pytest.raises(UserError, match="names code"):
        datasets.DATASETS.look_up(name)
