"""Class maps: the same classes, however they are written."""

from pathlib import Path
from typing import Any

import pytest

from eadbench.harness.errors import UserError
from eadbench.harness.plan.class_maps import class_map_of

NAMES = ("cat", "guinea pig", "dog")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.txt", "281\n338\n207\n"),
        ("names.txt", "cat 281\nguinea pig 338\ndog 207\ncar 1"),
        ("names.csv", "cat,281\n\nguinea pig, 338\ndog,207\n"),
        ("list.json", "[281, 338, 207]"),
        ("names.json", '{"dog": 207, "cat": 281, "guinea pig": 338}'),
    ],
)
def test_files(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    assert class_map_of(str(tmp_path / name), NAMES, "victims[0].class_map") == (281, 338, 207)


@pytest.mark.parametrize("given", [[281, 338, 207], {"guinea pig": 338, "dog": 207, "cat": 281}])
def test_in_the_spec(given: Any) -> None:
    assert class_map_of(given, NAMES, "victims[0].class_map") == (281, 338, 207)


@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        ([1, 2], "victims[0].class_map: has 2 classes, while the data set has 3"),
        (
            {"cat": 1, "dog": 2},
            "victims[0].class_map: lacks the class 'guinea pig'; give each class of the data set a number",
        ),
        ({"cat": 1, "dog": 2, "guinea pig": True}, "victims[0].class_map: must give each class a whole number"),
        ("none.txt", "victims[0].class_map: none.txt cannot be read: No such file or directory"),
    ],
)
def test_mistakes(given: Any, refusal: str) -> None:
    with pytest.raises(UserError) as error:
        class_map_of(given, NAMES, "victims[0].class_map")
    assert str(error.value) == refusal


@pytest.mark.parametrize(
    ("name", "content"),
    [("x.json", "3"), ("x.json", "{"), ("x.txt", "cat\ndog 3"), ("x.txt", "a b"), ("x.txt", "cat 1\ncat 2")],
)
def test_files_of_another_kind(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=r"victims\[0\]\.class_map: .*x\."):
        class_map_of(str(tmp_path / name), NAMES, "victims[0].class_map")
