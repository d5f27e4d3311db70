"""From labels of any kind to classes without gaps; what Parquet files may say of them."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from eadbench.harness import datasets
from eadbench.harness.datasets.classes import classes_of
from eadbench.harness.errors import UserError
from tests.harness.datasets.sample_images import pixels, png, write_table

PICTURE = png(pixels(0, 4, 4, 3))


def parquet(folder: Path, test: Any, train: Any = None, metadata: Any = None, **parameters: Any) -> datasets.DataSet:
    """Write and load test images with labels, and with `train` training images too."""
    for name, values in (("test", test), ("train", train)):
        if values is not None:
            write_table(folder / f"{name}.parquet", [PICTURE] * len(values), values)
            if metadata is not None:
                table = pq.read_table(folder / f"{name}.parquet")
                pq.write_table(table.replace_schema_metadata({"huggingface": metadata}), folder / f"{name}.parquet")
    return datasets.load("parquet", path=str(folder), **parameters)


def class_label(*names: str) -> str:
    return json.dumps({"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}})


@pytest.mark.parametrize(
    ("labels", "gap"),
    [
        (list(range(1, 11)), "no image has the label 0, while labels reach 10 (they are 1, 2, 3, 4, 5, …)"),
        ([0, 100, 200], "no image has the label 1, while labels reach 200 (they are 0, 100, 200)"),
        ([0, 1, 900_000_000], "no image has the label 2, while labels reach 900000000 (they are 0, 1, 900000000)"),
        ([2**62], "no image has the label 0"),
    ],
)  # fmt: skip
def test_gaps_offer_the_remap(tmp_path: Path, labels: list[int], gap: str) -> None:
    """Classes without an image would fail every attack on them: they must not be targets."""
    with pytest.raises(UserError) as caught:
        parquet(tmp_path, labels)
    assert gap in str(caught.value) and "give labels: remap" in str(caught.value)
    data = datasets.load("parquet", path=str(tmp_path), labels="remap")
    assert data.class_names == tuple(map(str, labels)) and data.classes == len(labels)
    assert data.test.labels.tolist() == list(range(len(labels))) and data.empty_classes == ()


def test_a_class_of_one_split_alone_is_no_gap(tmp_path: Path) -> None:
    data = parquet(tmp_path, [0, 2, 0], train=[1, 1])
    assert (data.classes, data.empty_classes) == (3, ())


def test_remap_is_part_of_the_identity(tmp_path: Path) -> None:
    identities = {parquet(tmp_path, [1, 0], labels=rule).identity for rule in ("keep", "remap")}
    assert len(identities) == 2


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_texts_become_classes_in_sorted_order(tmp_path: Path, kind: pa.DataType) -> None:
    data = parquet(tmp_path, pa.array(["dog", "cat", "3"]).cast(kind), train=pa.array(["eel", "cat"]).cast(kind))
    assert data.class_names == ("3", "cat", "dog", "eel")
    assert (data.test.labels.tolist(), data.train.labels.tolist()) == ([2, 1, 0], [3, 1])


class TestNamesOfTheMetadata:
    def test_a_named_class_without_images_is_told(self, tmp_path: Path) -> None:
        """The names are authoritative: weights with three logits fit, and targets can leave the empty class out."""
        data = parquet(tmp_path, [0, 2], metadata=class_label("ant", "bee", "cat"))
        assert (data.class_names, data.empty_classes) == (("ant", "bee", "cat"), (1,))

    def test_remap_keeps_the_names_that_occur(self, tmp_path: Path) -> None:
        data = parquet(tmp_path, [0, 2, 2], metadata=class_label("ant", "bee", "cat"), labels="remap")
        assert (data.class_names, data.test.labels.tolist()) == (("ant", "cat"), [0, 1, 1])

    def test_splits_that_name_classes_differently(self, tmp_path: Path) -> None:
        parquet(tmp_path, [0, 1], metadata=class_label("ant", "bee"))
        (tmp_path / "test.parquet").rename(tmp_path / "train.parquet")
        with pytest.raises(UserError, match="names other classes"):
            parquet(tmp_path, [0, 1], metadata=class_label("bee", "ant"))
        (tmp_path / "train.parquet").rename(tmp_path / "test-2.parquet")
        with pytest.raises(UserError, match=r"test\.parquet names other classes than .*test-2\.parquet"):
            datasets.load("parquet", path=str(tmp_path))

    @pytest.mark.parametrize(
        "metadata",
        ['{"info": null}', "null", "[]", "3", '"text"', "{", "", '{"info": {"features": []}}', "[" * 10**5,
         '{"info": {"features": {"label": null}}}', '{"info": {"features": {"label": {"names": {"0": "ant"}}}}}',
         '{"info": {"features": {"label": {"names": [1, null]}}}}', '{"info": {"features": {"label": {"names": []}}}}'],
    )  # fmt: skip
    def test_any_other_metadata_is_ignored(self, tmp_path: Path, metadata: str) -> None:
        assert parquet(tmp_path, [1, 0], metadata=metadata).class_names == ("0", "1")


@pytest.mark.parametrize(
    ("splits", "names", "message"),
    [
        ([[0, -1], []], None, "labels must be class indices from 0, got -1"),
        ([[0.5], []], None, "labels must be class indices from 0, or texts; got 0.5"),
        ([["a"], [1]], None, "some labels are texts and some are not"),
        ([["a", None], []], None, "some labels are texts and some are not"),
        ([[2**63], []], None, f"got {2**63}"),
        ([[2**64], []], None, "labels must be class indices from 0"),
        ([[], [2]], ("a", "b"), "label 2 is not among the 2 named classes"),
        ([torch.tensor([True])], None, "labels must be class indices from 0"),
    ],
)
def test_mistakes(splits: Any, names: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        classes_of(splits, names, where="mine")
    assert str(caught.value).startswith("mine: ") and "\n" not in str(caught.value)
