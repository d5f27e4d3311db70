"""Tar files in the layout of webdataset."""

import gzip
import io
import json
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eadbench.harness import datasets
from eadbench.harness.datasets import tars
from eadbench.harness.errors import UserError
from tests.harness.datasets.sample_images import pixels, png

IMAGES = [pixels(seed, 4, 5, 3) for seed in range(6)]


def write_tar(path: Path, members: dict[str, bytes], kind: int = tarfile.PAX_FORMAT) -> None:
    with tarfile.open(path, "w", format=kind) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def samples(numbers: range, labels: list[Any]) -> dict[str, bytes]:
    members = {}
    for number, label in zip(numbers, labels, strict=True):
        members[f"{number:04}.png"] = png(IMAGES[number])
        members[f"{number:04}.cls"] = str(label).encode()
    return members


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_several_files(tmp_path: Path, kind: int) -> None:
    write_tar(tmp_path / "train-0.tar", samples(range(2), [0, 1]), kind)
    write_tar(tmp_path / "train-1.tar", samples(range(2, 4), [2, 1]), kind)
    write_tar(tmp_path / "val-0.tar", samples(range(4, 6), [2, 0]), kind)
    data = datasets.load("webdataset", path=str(tmp_path), called="birds")
    assert (data.name, data.shape, data.class_names) == ("birds", (3, 4, 5), ("0", "1", "2"))
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == ([0, 1, 2, 1], [2, 0])
    copy = pickle.loads(pickle.dumps(data))
    expected = torch.from_numpy(np.stack([IMAGES[3], IMAGES[0]])).permute(0, 3, 1, 2) / 255
    assert torch.equal(copy.train.images([3, 0]), expected)
    assert torch.equal(copy.test.images([1]), torch.from_numpy(IMAGES[5]).permute(2, 0, 1)[None] / 255)


def test_any_order_and_name(tmp_path: Path) -> None:
    """Folders, long names, hidden and foreign members, labels before images, capitals."""
    long = "x" * 150
    members = {
        "./a/0.cls": b"1\n",
        "./a/0.PNG": png(IMAGES[0]),
        "./a/._0.png": b"hidden",
        "README.txt": b"no sample",
        f"b/{long}.extra.txt": b"",
        f"b/{long}.png": png(IMAGES[1]),
        f"b/{long}.cls": b"0",
        "c/0.meta.json": b"{",
        "c/0.cls": b"0",
    }
    write_tar(tmp_path / "test.tar", members)
    data = datasets.load("webdataset", path=str(tmp_path))
    assert (data.test.labels.tolist(), len(data.train)) == ([1, 0], 0)
    assert torch.equal(data.test[1][0], torch.from_numpy(IMAGES[1]).permute(2, 0, 1) / 255)


@pytest.mark.parametrize(
    ("label", "key", "expected"),
    [({"label": "dog", "size": 3}, None, ("dog",)), ({"cls": 0}, None, ("0",)), ({"kind": "eel"}, "kind", ("eel",))],
)
def test_labels_in_json(tmp_path: Path, label: Any, key: str | None, expected: tuple[str, ...]) -> None:
    write_tar(tmp_path / "test.tar", {"1.png": png(IMAGES[0]), "1.json": json.dumps(label).encode()})
    assert datasets.load("webdataset", path=str(tmp_path), label_key=key).class_names == expected


def test_text_labels(tmp_path: Path) -> None:
    write_tar(tmp_path / "test.tar", samples(range(3), ["n02", "n01", "n02"]))
    data = datasets.load("webdataset", path=str(tmp_path))
    assert (data.class_names, data.test.labels.tolist()) == (("n01", "n02"), [1, 0, 1])


def test_nothing_is_decoded_before_it_is_read(tmp_path: Path) -> None:
    """A split of ImageNet's size is never decoded as a whole; a damaged image is named when it is read."""
    members = samples(range(3), [0, 1, 2]) | {"0001.png": b"damaged"}
    write_tar(tmp_path / "test.tar", members)
    data = datasets.load("webdataset", path=str(tmp_path))
    assert data.test.images([0, 2]).shape == (2, 3, 4, 5)
    with pytest.raises(UserError, match=r"image 1 \(.*test\.tar, byte \d+\) is not a readable image"):
        data.test.images([0, 1])


def test_identity(tmp_path: Path) -> None:
    """It follows names, sizes and labels of the images, and the transform, not the folder."""
    identities = []
    for folder, labels in (("a", [0, 1]), ("b", [0, 1]), ("c", [1, 0])):
        (tmp_path / folder).mkdir()
        write_tar(tmp_path / folder / "test.tar", samples(range(2), labels))
        identities.append(datasets.load("webdataset", path=str(tmp_path / folder), called="x").identity)
    identities.append(datasets.load("webdataset", path=str(tmp_path / "a"), called="x", size=4).identity)
    assert identities[0] == identities[1] and len(set(identities)) == 3


def damaged_header(content: bytes) -> bytes:
    """Damage the header of the third member: tarfile takes it for the end of the archive."""
    return content[:2048] + b"\xff" * 512 + content[2560:]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (gzip.compress, "cannot be read: .*; it must be a whole tar file without compression"),
        (damaged_header, "its header at byte 2048 is damaged"),
        (lambda content: content[:700], "cannot be read: unexpected end of data"),
        (lambda content: b"no tar" * 200, "cannot be read: "),
        (lambda content: bytes(10_240), r"holds no image \(jpg"),
    ],
    ids=["compressed", "header", "cut", "foreign", "empty"],
)
def test_damaged_files(tmp_path: Path, damage: Any, message: str) -> None:
    write_tar(tmp_path / "whole.tar", samples(range(3), [0, 1, 2]))
    (tmp_path / "test.tar").write_bytes(damage((tmp_path / "whole.tar").read_bytes()))
    with pytest.raises(UserError, match=message) as caught:
        datasets.load("webdataset", path=str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"1.png": b"x"}, "1 has no label; it must be in 1.cls, or 1.json with a key 'label'"),
        ({"1.png": b"x", "1.json": b"[1]"}, "1 has no label"),
        ({"1.png": b"x", "1.json": b'{"label": null}'}, "the label of 1 must be an integer or a text, got None"),
        ({"1.png": b"x", "1.cls": b"\xff"}, "1 has no label"),
        ({"1.png": b"x", "1.cls": b" "}, "1 has no label"),
        ({"1.a.png": b"x", "1.b.png": b"x", "1.cls": b"0"}, "test.tar has two files png of 1"),
        ({"1.png": b"x", "1.cls": b"3"}, "no image has the label 0, .*give labels: remap"),
        ({"1.png": b"x", "1.cls": b"-1"}, "labels must be class indices from 0, got -1"),
    ],
)
def test_mistakes(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    write_tar(tmp_path / "test.tar", members)
    with pytest.raises(UserError, match=message) as caught:
        datasets.load("webdataset", path=str(tmp_path))
    assert "\n" not in str(caught.value)


def test_the_index_is_small(tmp_path: Path) -> None:
    """What a split of a large data set sends to a worker is a few numbers for each image."""
    write_tar(tmp_path / "test.tar", samples(range(6), [0] * 6))
    index = tars._indexed([tmp_path / "test.tar"], None)
    for values in (index.files, index.names, index.offsets, index.sizes):
        values.extend(values * 999)
    images = tars.TarImages([tmp_path / "test.tar"], index)
    assert len(images) == 6000 and len(pickle.dumps(images)) < 6000 * 24 + 1000
