"""Arrays in .npz, .npy and safetensors files."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from eadbench.harness import datasets
from eadbench.harness.errors import UserError
from tests.harness.datasets.sample_images import pixels

TRAIN, TEST = pixels(0, 4, 3, 5, 6), pixels(1, 2, 3, 5, 6)
LABELS = {"train": np.array([0, 1, 2, 1]), "test": np.array([2, 0])}


def write_npz(root: Path, **arrays: Any) -> Path:
    np.savez(root / "all.npz", **arrays)
    return root / "all.npz"


def npz(root: Path) -> Path:
    return write_npz(
        root, train_images=TRAIN, train_labels=LABELS["train"], test_images=TEST, test_labels=LABELS["test"]
    )


def keras(root: Path) -> Path:
    """The layout of Keras: x_train, y_train, …, images (N, H, W, C), labels (N, 1)."""
    last = {f"x_{name}": images.transpose(0, 2, 3, 1) for name, images in (("train", TRAIN), ("test", TEST))}
    return write_npz(root, **last, **{f"y_{name}": labels[:, None] for name, labels in LABELS.items()})


def npz_per_split(root: Path) -> Path:
    for name, images in (("train", TRAIN), ("val", TEST)):
        np.savez(root / f"{name}.npz", images=images, labels=LABELS[name.replace("val", "test")].astype(np.uint8))
    return root


def npy_pairs(root: Path) -> Path:
    for name, images in (("train", TRAIN), ("test", TEST)):
        np.save(root / f"{name}_images.npy", images)
        np.save(root / f"{name}_labels.npy", LABELS[name].astype(">i4"))
    (root / "._train_images.npy").write_bytes(b"no array")
    (root / "README.md").write_text("arrays")
    return root


def safetensors(root: Path) -> Path:
    tensors = {
        "train.images": TRAIN,
        "train.labels": LABELS["train"],
        "test.images": TEST,
        "test.labels": LABELS["test"],
    }
    save_file({name: torch.from_numpy(array) for name, array in tensors.items()}, root / "all.safetensors")
    return root / "all.safetensors"


@pytest.mark.parametrize("write", [npz, keras, npz_per_split, npy_pairs, safetensors])
def test_layouts(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    path = str(write(tmp_path))
    data = datasets.load("tensors", path=path, called="mine")
    assert (data.name, data.shape, data.class_names) == ("mine", (3, 5, 6), ("0", "1", "2"))
    copy = pickle.loads(pickle.dumps(data))
    for split, images, name in ((copy.train, TRAIN, "train"), (copy.test, TEST, "test")):
        assert torch.equal(split.images(range(len(images))), torch.from_numpy(images) / 255)
        assert split.labels.tolist() == LABELS[name].tolist()
    assert data.identity.startswith("mine@")
    assert data.identity == datasets.load("tensors", path=path, called="mine").identity


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_floats(tmp_path: Path, dtype: Any) -> None:
    images = np.array([[[0.25, 1.0], [0.0, 0.5]]] * 2, dtype=dtype)
    data = datasets.load("tensors", path=str(write_npz(tmp_path, images=images, labels=[0, 1])))
    assert data.shape == (1, 2, 2) and len(data.train) == 0
    assert torch.equal(data.test.images([1]), torch.tensor([[[[0.25, 1.0], [0.0, 0.5]]]]))


def test_bfloat16(tmp_path: Path) -> None:
    images = torch.full((2, 1, 4, 4), 0.5, dtype=torch.bfloat16)
    save_file({"x": images, "y": torch.tensor([1, 0])}, tmp_path / "a.safetensors")
    data = datasets.load("tensors", path=str(tmp_path / "a.safetensors"))
    assert torch.equal(data.test.images([0]), images[:1].float())


def test_text_labels_and_names_that_are_given(tmp_path: Path) -> None:
    path = write_npz(tmp_path, Holdout_Pixels=TEST, holdout_species=np.array(["dog", "ant"]), other=TRAIN)
    options = {"train": None, "test": "holdout", "image_key": "pixels", "label_key": "species"}
    data = datasets.load("tensors", path=str(path), **options)
    assert (data.class_names, data.test.labels.tolist(), len(data.train)) == (("ant", "dog"), [1, 0], 0)


def test_layout_is_asked_for_where_the_shape_does_not_tell(tmp_path: Path) -> None:
    path = str(write_npz(tmp_path, images=pixels(0, 2, 3, 5, 3), labels=[0, 1]))
    with pytest.raises(UserError, match=r"images has the shape \(2, 3, 5, 3\); give layout: NCHW or layout: NHWC"):
        datasets.load("tensors", path=path)
    loaded = [datasets.load("tensors", path=path, layout=layout) for layout in ("NCHW", "NHWC")]
    assert [data.shape for data in loaded] == [(3, 5, 3), (3, 3, 5)]
    assert loaded[0].identity != loaded[1].identity


def nan() -> Any:
    images = np.full((2, 4, 4), 0.5)
    images[1, 0, 0] = np.nan
    return images


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": TEST}, "needs arrays such as test_images and test_labels; its arrays are images"),
        ({"images": TEST, "labels": [0, 1, 2]}, "images has 2 images, and labels has 3 labels"),
        ({"images": TEST, "labels": [1, 2]}, "no image has the label 0, .*give labels: remap"),
        ({"images": TEST, "labels": [0.0, 1.0]}, "labels must be class indices from 0, or texts; got 0.0"),
        ({"images": TEST, "labels": [[1, 0], [0, 1]]}, r"labels must be labels \(N,\), got \(2, 2\)"),
        ({"images": TEST.astype(int), "labels": [0, 1]}, "images 0 is of the type torch.int64; images must be uint8"),
        ({"images": TEST.astype(float), "labels": [0, 1]}, r"images 0 has values from \d to 25\d; images must lie in"),
        ({"images": nan(), "labels": [0, 1]}, r"images 1 has NaN or infinite values; images must lie in \[0, 1\]"),
        ({"images": TEST.reshape(2, -1), "labels": [0, 1]}, r"images must be images \(N, C, H, W\)"),
        ({"images": TEST[:0], "labels": TEST[:0, 0, 0, 0]}, "images has no images"),
        ({"images": np.array(["a", "b"]), "labels": [0, 1]}, "images must be uint8 or floats in .*, got <U1"),
        ({"images": TEST, "labels": [0, 1], "train_images": TEST[:, :, :4], "train_labels": [0, 1]},
         "training images are .*, test images"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        datasets.load("tensors", path=str(write_npz(tmp_path, **arrays)))
    assert "\n" not in str(caught.value)


class Evil:
    """Leave a trace when it is unpickled."""

    def __reduce__(self) -> Any:
        return (exec, ("import builtins; builtins.unpickled = True",))


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_nothing_is_unpickled(tmp_path: Path, suffix: str) -> None:
    objects = np.array([Evil(), Evil()], dtype=object)
    if suffix == ".npz":
        np.savez(tmp_path / "test.npz", images=objects, labels=[0, 1])
    else:
        np.save(tmp_path / "test_images.npy", objects)
        np.save(tmp_path / "test_labels.npy", [0, 1])
    with pytest.raises(UserError, match="is not a readable file of arrays: Object arrays cannot be loaded"):
        datasets.load("tensors", path=str(tmp_path))
    assert not hasattr(__import__("builtins"), "unpickled")


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.safetensors"])
@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00v\x00{", b"PK\x03\x04", b"\xff" * 100])
def test_damaged_files(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    np.save(tmp_path / "test_labels.npy", [0, 1])
    (tmp_path / name).rename(tmp_path / f"test_images{Path(name).suffix}")
    with pytest.raises(UserError, match=r"is not a readable file of arrays: .") as caught:
        datasets.load("tensors", path=str(tmp_path))
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "no.npz", "x" * 5000):
        with pytest.raises(UserError, match=r"path must be a file of arrays \(\.npz, \.npy, \.safetensors\)"):
            datasets.load("tensors", path=str(path))
