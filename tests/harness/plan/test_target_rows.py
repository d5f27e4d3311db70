"""Which images and classes the rows of a file of targets mean."""

from pathlib import Path

import pytest
import torch

from eadbench.harness.datasets import Split
from eadbench.harness.datasets.image_files import Decoder, FileImages
from eadbench.harness.datasets.transform import Transform
from eadbench.harness.errors import UserError
from eadbench.harness.plan.target_rows import given_targets
from eadbench.harness.spec import FileTargets

NAMES = ["val/cat/1.png", "val/cat/old/x.png", "val/dog/007.png", "val/dog/x.png"]


def found(*rows: str, names: list[str] | None = NAMES, classes: tuple[str, ...] = ("cat", "dog", "3", "owl")) -> object:
    images = Decoder(FileImages(Path("."), names or ["?"] * 4), "L", Transform(size=None, crop=None))
    split = Split([0, 0, 1, 1], images if names else lambda indices: torch.zeros(len(indices), 1, 1, 1))
    split.name = "test"
    return given_targets(FileTargets(file="t.csv", rows=list(rows)), split, classes)


@pytest.mark.parametrize(
    ("rows", "targets"),
    [
        (["0,1", "3,0"], {0: [1], 3: [0]}),
        (["1,3", "1,dog"], {1: [1, 2]}),  # a name of a class goes before its number
        (["1,owl", "1,1"], {1: [1, 3]}),
        (["1.png,dog", "val/cat/old/x.png,dog", "dog/x.png,cat"], {0: [1], 1: [1], 3: [0]}),
        (["007.png,cat"], {2: [0]}),
    ],
)
def test_images_and_targets(rows: list[str], targets: dict[int, list[int]]) -> None:
    assert found(*rows) == targets


def test_numbers_are_classes_without_names() -> None:
    assert found("0,3", "2,0", classes=("0", "1", "2", "3")) == {0: [3], 2: [0]}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["4,1"], r"targets: t.csv: image '4', target '1': the image must be in 0\.\.3 of the test split"),
        ([f"{10**30},1"], r"the image must be in 0\.\.3"),
        (["-1,1"], "no file of the test split is called so"),
        (["007,0"], "no file of the test split is called so"),  # not the image 7
        (["y.png,0"], "no file of the test split is called so"),
        (["x.png,0"], "several images are called so; give the folder too, such as cat/x.png"),
        (["0,4"], r"the target must be the name of a class or its number in 0\.\.3"),
        (["0,wolf"], "the target must be the name of a class"),
        (["0,-1"], "the target must be the name of a class"),
        (["0,0"], "image '0', target '0': is the image's own class"),
        (["3,dog"], "is the image's own class"),
        (["0,1", "1,1", "0,1"], "image '0', target '1': is there twice"),
        (["0,1", "0,dog"], "image '0', target 'dog': is there twice"),
        (["0,1", "1.png,dog"], "image '1.png', target 'dog': is there twice"),
    ],
)
def test_rows_that_mean_nothing(rows: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        found(*rows)
    assert "\n" not in str(caught.value)


def test_a_data_set_without_files() -> None:
    with pytest.raises(UserError, match="the data set has no file names; give an index"):
        found("1.png,1", names=None)
