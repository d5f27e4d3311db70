"""Data sets of the Hugging Face hub, from local folders and a cache; nothing is fetched."""

import builtins
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from eadbench.harness import datasets
from eadbench.harness.errors import UserError
from tests.harness.datasets.sample_images import pixels, png, write_folder, write_table

hub = pytest.importorskip("datasets", reason="the package datasets is not installed")

IMAGES = [pixels(seed, 5, 6, 3) for seed in range(4)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the package in a cache of the test's own, offline."""
    from huggingface_hub import constants

    monkeypatch.setattr(hub.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(hub.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    yield
    hub.enable_progress_bars()


def split(labels: Any, label: Any = None, image: Any = None, column: str = "image") -> Any:
    """A split of the package: images and labels of a feature."""
    kind = hub.ClassLabel(names=["ant", "bee", "cat"]) if label is None else label
    features = hub.Features({column: image or hub.Image(), "label": kind, "extra": hub.Value("int64")})
    images = [Image.fromarray(IMAGES[index]) for index in range(len(labels))]
    if image is not None:
        images = [png(IMAGES[index]) for index in range(len(labels))]
    return hub.Dataset.from_dict({column: images, "label": labels, "extra": [0] * len(labels)}, features=features)


def write_parquet(root: Path, **splits: Any) -> Path:
    root.mkdir()
    for name, part in splits.items():
        part.to_parquet(root / f"{name}.parquet")
    return root


def write_saved(root: Path, **splits: Any) -> Path:
    hub.DatasetDict(splits).save_to_disk(root)
    return root


@pytest.mark.parametrize("write", [write_parquet, write_saved])
def test_local_folder(tmp_path: Path, write: Any) -> None:
    path = write(tmp_path / "birds", train=split([0, 1, 2, 1]), test=split([2, 0]))
    data = datasets.load("hf", path=str(path))
    assert (data.name, data.shape, data.class_names) == ("birds", (3, 5, 6), ("ant", "bee", "cat"))
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == ([0, 1, 2, 1], [2, 0])
    copy = pickle.loads(pickle.dumps(data))
    assert torch.equal(copy.train.images([3]), torch.from_numpy(IMAGES[3]).permute(2, 0, 1)[None] / 255)
    (moved := tmp_path / "moved").mkdir()
    path.rename(moved / "birds")
    assert datasets.load("hf", path=str(moved / "birds")).identity == data.identity
    assert datasets.load("hf", path=str(moved / "birds"), size=4).identity != data.identity


def test_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name of the hub is loaded from the package's cache without a request."""
    builder = tmp_path / "cache" / "me___birds" / "default" / "0.0.0" / "0123456789abcdef"
    folder = write_parquet(tmp_path / "files", train=split([0, 1]), test=split([1, 2, 0]))
    hub.load_dataset(str(folder))
    cached = next((tmp_path / "cache").glob("parquet/*/*/*/dataset_info.json"), None)
    cached = cached or next((tmp_path / "cache").rglob("dataset_info.json"))
    builder.parent.mkdir(parents=True)
    cached.parent.rename(builder)
    for file in builder.glob("*.arrow"):
        file.rename(file.with_name(file.name.replace(file.name.rpartition("-")[0], "birds")))
    data = datasets.load("hf", path="me/birds")
    assert (data.name, data.test.labels.tolist(), len(data.train)) == ("birds", [1, 2, 0], 2)


@pytest.mark.parametrize("download", [True, False])
def test_offline(download: bool) -> None:
    with pytest.raises(UserError, match=r"^dataset: hf 'no/such_data' .*(cache|folder)") as caught:
        datasets.load("hf", path="no/such_data", download=download)
    assert "\n" not in str(caught.value)


def test_at_hand_makes_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("socket.socket.connect", lambda *args: asked.append(args))
    monkeypatch.setattr(hub.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert "cannot be loaded offline" in str(datasets.at_hand("hf", {"path": "no/such_data", "download": True}))
    assert not asked and not hub.config.HF_HUB_OFFLINE


@pytest.mark.parametrize("file", ["README.md", ".huggingface.yaml"])
def test_a_folder_that_names_files_elsewhere(tmp_path: Path, file: str) -> None:
    """The package would fetch them, though it is told to stay offline."""
    configs = (
        "configs:\n- config_name: default\n  data_files:\n  - {split: test, path: 'http://127.0.0.1:9/x.parquet'}\n"
    )
    folder = write_parquet(tmp_path / "x", test=split([0, 1]))
    (folder / file).write_text(f"---\n{configs}---\n" if file == "README.md" else configs)
    with pytest.raises(UserError, match="x names files at other places; `configs` of its README must name"):
        datasets.load("hf", path=str(folder))
    (folder / file).write_text("---\nlicense_link: https://example.org\n---\n# Birds\n---\nmore ---\n")
    if file == "README.md":
        assert datasets.load("hf", path=str(folder)).classes == 3


def test_folder_of_images(tmp_path: Path) -> None:
    """The package reads a folder of images too; its images are files."""
    names = [f"{part}/{kind}/1.png" for part in ("train", "test") for kind in ("ant", "bee")]
    write_folder(tmp_path / "birds", dict(zip(names, IMAGES, strict=True)))
    data = datasets.load("hf", path=str(tmp_path / "birds"))
    assert (data.class_names, data.test.labels.tolist()) == (("ant", "bee"), [0, 1])
    assert torch.equal(data.test[1][0], torch.from_numpy(IMAGES[3]).permute(2, 0, 1) / 255)


def test_binary_images_and_text_labels(tmp_path: Path) -> None:
    part = split(["dog", "ant", "dog"], hub.Value("string"), hub.Value("binary"), column="img")
    data = datasets.load("hf", path=str(write_parquet(tmp_path / "x", validation=part)))
    assert (data.class_names, data.test.labels.tolist(), len(data.train)) == (("ant", "dog"), [1, 0, 1], 0)
    assert torch.equal(data.test[2][0], torch.from_numpy(IMAGES[2]).permute(2, 0, 1) / 255)


def test_files_without_the_package_s_metadata(tmp_path: Path) -> None:
    """A column of bytes and paths holds images, whatever wrote it."""
    (tmp_path / "x").mkdir()
    write_table(tmp_path / "x" / "test.parquet", [png(image) for image in IMAGES], [1, 0, 1, 0])
    data = datasets.load("hf", path=str(tmp_path / "x"))
    assert torch.equal(data.test[3][0], torch.from_numpy(IMAGES[3]).permute(2, 0, 1) / 255)


def test_named_splits(tmp_path: Path) -> None:
    path = str(write_parquet(tmp_path / "x", train=split([0, 1, 2]), test=split([1])))
    data = datasets.load("hf", path=path, train=None, test="train")
    assert (len(data.train), data.test.labels.tolist()) == (0, [0, 1, 2])
    with pytest.raises(UserError, match="train and test are both 'train'; give train: null if nothing is trained"):
        datasets.load("hf", path=path, test="train")


def test_a_named_class_without_images(tmp_path: Path) -> None:
    path = str(write_parquet(tmp_path / "x", test=split([0, 2])))
    assert datasets.load("hf", path=path).empty_classes == (1,)
    assert datasets.load("hf", path=path, labels="remap").class_names == ("ant", "cat")


@pytest.mark.parametrize(
    ("part", "parameters", "message"),
    [
        (split([1, 2], hub.Value("int64")), {}, "no image has the label 0, .*give labels: remap"),
        (split([0.5], hub.Value("float64")), {}, "column 'label' must hold integers or texts, got float"),
        (split([None, 0], hub.Value("int64")), {}, "must hold integers or texts, got NoneType and int"),
        (split([0]), {"test": "dev"}, "has no split 'dev'; its splits are test"),
        (split([0]), {"image_column": "photo"}, "has no column 'photo'; its columns are image, label, extra"),
        (split([0]), {"image_column": "extra"}, "column 'extra' must hold images, got Value"),
        (split([0]).rename_column("label", "y"), {}, "has no column 'label' or 'labels'; its columns are image, y"),
    ],
)
def test_mistakes(tmp_path: Path, part: Any, parameters: dict[str, Any], message: str) -> None:
    path = write_parquet(tmp_path / "x", test=part)
    with pytest.raises(UserError, match=message) as caught:
        datasets.load("hf", path=str(path), **parameters)
    assert "\n" not in str(caught.value)


def test_damaged_image(tmp_path: Path) -> None:
    part = split([0, 1])
    damaged = part.cast_column("image", hub.Image(decode=False)).map(
        lambda row, index: {"image": {"bytes": row["image"]["bytes"][: 60 if index else None], "path": None}},
        with_indices=True,
    )
    data = datasets.load("hf", path=str(write_parquet(tmp_path / "x", test=damaged)))
    with pytest.raises(UserError, match=r"image 1 of hf .*x is not a readable image"):
        data.test.images([0])


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any, **keywords: Any) -> Any:
        if name == "datasets":
            raise ImportError(name)
        return real(name, *args, **keywords)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(UserError, match=r"hf needs the package datasets: pip install 'eadbench\[datasets\]'"):
        datasets.load("hf", path="cifar10")


@pytest.mark.parametrize("path", ["/nowhere", "./nowhere", "~/nowhere"])
def test_no_such_folder(path: str) -> None:
    with pytest.raises(UserError, match="path must be a folder or the name of a data set of the hub"):
        datasets.load("hf", path=path)
