"""Data sets that are the user's own code: what is converted, and what is refused by image and split."""

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from eadbench.harness import datasets
from eadbench.harness.datasets import DataSet, Split
from eadbench.harness.errors import UserError
from tests.harness.datasets.sample_images import pixels

EPS = 2.0**-23
Own = Callable[..., DataSet]


def data_set(images: torch.Tensor, labels: Any = None, read: Any = None, **changes: Any) -> DataSet:
    """A data set of ten classes whose training images are `images`, and whose test images are black."""
    test = Split(range(10), lambda indices: torch.zeros(len(indices), *images.shape[1:]))
    train = Split([0] * len(images) if labels is None else labels, read or (lambda indices: images[list(indices)]))
    fields: dict[str, Any] = {"name": "mine", "identity": "mine", "classes": 10, "class_names": tuple("abcdefghij")}
    return DataSet(**{"shape": tuple(images.shape[1:]), "train": train, "test": test, **fields, **changes})


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], Any]:
    """Load a function as a data set of the user's own, by an import path."""

    def loaded(loader: Callable[[], Any]) -> Any:
        module = ModuleType("my_data")
        module.mine = loader  # type: ignore[attr-defined]
        monkeypatch.setitem(__import__("sys").modules, "my_data", module)
        return datasets.load("my_data:mine")

    return loaded


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (torch.full((2, 1, 2, 2), 0.25, dtype=torch.float64), 0.25),
        (torch.full((2, 1, 2, 2), 0.25, dtype=torch.float16), 0.25),
        (torch.full((2, 1, 2, 2), 1 + EPS), 1.0),
        (torch.full((2, 1, 2, 2), 1 + 1e-12, dtype=torch.float64), 1.0),
        (torch.full((2, 1, 2, 2), -EPS), 0.0),
        (torch.full((2, 1, 2, 2), 51, dtype=torch.uint8), 0.2),
    ],
    ids=["float64", "float16", "ulp-above", "float64-above", "ulp-below", "uint8"],
)
def test_converted(own: Own, images: torch.Tensor, expected: float) -> None:
    before = images.clone()
    found = own(lambda: data_set(images)).train.images([1, 0])
    assert found.dtype == torch.float32 and torch.equal(found, torch.full((2, 1, 2, 2), expected))
    assert torch.equal(images, before)


def test_arrays_are_taken(own: Own) -> None:
    array = pixels(0, 3, 1, 2, 2)
    data = own(lambda: data_set(torch.from_numpy(array), read=lambda indices: array[list(indices)]))
    assert torch.equal(data.train.images([2]), torch.from_numpy(array[2:]) / 255)


def with_pixel(value: float) -> torch.Tensor:
    """Eight images, the sixth of which has a pixel of another value."""
    images = torch.full((8, 1, 2, 2), 0.5)
    images[5, 0, 1, 1] = value
    return images


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (with_pixel(float("nan")), "train image 5 has NaN or infinite values; images must lie in [0, 1]"),
        (with_pixel(float("inf")), "train image 5 has NaN or infinite values; images must lie in [0, 1]"),
        (with_pixel(1.5), "train image 5 has values from 0.5 to 1.5; images must lie in [0, 1]"),
        (with_pixel(1 + 8 * EPS), "train image 5 has values from 0.5 to 1.00000095; images must lie in [0, 1]"),
        (with_pixel(-0.25), "train image 5 has values from -0.25 to 0.5; images must lie in [0, 1]"),
        (with_pixel(0).long(), "train image 0 is of the type torch.int64; images must be uint8 in 0..255, or floats"),
    ],
)
def test_refused_when_loaded(own: Own, images: torch.Tensor, message: str) -> None:
    with pytest.raises(UserError) as caught:
        own(lambda: data_set(images))
    assert str(caught.value).startswith(f"dataset: {message}") and "\n" not in str(caught.value)


def test_one_nan_beyond_the_sample(own: Own) -> None:
    """A NaN that the sample misses is refused by whoever reads the image, so that nothing is trained on it."""
    images = torch.full((500, 1, 2, 2), 0.5)
    images[333, 0, 0, 0] = torch.nan
    data = own(lambda: data_set(images))
    with pytest.raises(UserError, match="train image 333 has NaN"):
        data.train.images(range(256, 512 - 12))
    with pytest.raises(UserError, match="train image 333 has NaN"):
        data.train[333]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [0] * 7 + [10]}, "mine: train image 7 has the label 10; labels must lie in 0..9"),
        ({"labels": [0, -1] + [0] * 6}, "mine: train image 1 has the label -1; labels must lie in 0..9"),
        ({"labels": [0.5] * 8}, r"labels must be integers \(N,\), got torch.float32 \(8,\)"),
        ({"labels": [[0]] * 8}, r"labels must be integers \(N,\), got torch.int64 \(8, 1\)"),
        ({"labels": ["cat"] * 8}, r"labels must be integers \(N,\), got \['cat'"),
        ({"labels": [True] * 8}, r"labels must be integers \(N,\), got torch.bool \(8,\)"),
        ({"class_names": ("a",)}, "mine: has 10 classes and 1 names of them"),
        ({"shape": (1, 3, 3)}, r"train image 0 has the shape \(1, 2, 2\), while the data set has \(1, 3, 3\)"),
        ({"read": lambda _: torch.zeros(2, 2)}, r"train image 0: `read` must return \(8, C, H, W\) for 8 indices, got"),
        ({"read": lambda _: torch.zeros(3, 1, 2, 2)}, "train image 0: `read` must return"),
        ({"read": lambda _: None}, "train image 0 is of the type NoneType; `read` must return a tensor"),
        ({"read": lambda _: {}["x"]}, "my_data:mine failed with KeyError: 'x'"),
        ({"train": "train"}, "mine: train must be a Split, got str"),
    ],
)
def test_other_mistakes(own: Own, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        own(lambda: data_set(torch.zeros(8, 1, 2, 2), **changes))
    assert "\n" not in str(caught.value)


def test_no_data_set(own: Own) -> None:
    with pytest.raises(UserError, match=r"my_data:mine must return an eadbench.harness.datasets.DataSet, got dict"):
        own(lambda: {"images": 1})


def test_no_train_split(own: Own) -> None:
    data = own(lambda: data_set(torch.zeros(0, 1, 2, 2)))
    assert len(data.train) == 0 and data.train.images([]).shape == (0, 1, 2, 2)
    with pytest.raises(UserError, match="mine: has no images"):
        replace(data, test=Split([], lambda _: torch.zeros(0, 1, 2, 2)))


def test_an_image_without_rows_is_refused() -> None:
    with pytest.raises(UserError, match=r"mine: images must have a shape \(C, H, W\) of at least 1 each"):
        data_set(torch.zeros(2, 1, 0, 2))


def test_empty_classes(own: Own) -> None:
    """Named classes without images are allowed, and told."""
    data = own(lambda: data_set(torch.zeros(2, 1, 2, 2)))
    assert data.empty_classes == ()
    few = replace(data, test=Split([1, 8], lambda _: torch.zeros(2, 1, 2, 2)))
    assert few.empty_classes == (2, 3, 4, 5, 6, 7, 9)


def test_replaced_splits_get_their_own_name() -> None:
    """A split knows its name from the data set, not from where else it was used."""
    data = data_set(torch.from_numpy(np.full((1, 1, 2, 2), 7.0)))
    swapped = replace(data, train=data.test, test=data.train)
    with pytest.raises(UserError, match="test image 0 has values from 7 to 7"):
        swapped.test.images([0])
    with pytest.raises(UserError, match="train image 0 has values from 7 to 7"):
        data.train.images([0])
