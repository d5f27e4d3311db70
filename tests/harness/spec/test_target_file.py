"""Targets from a file: the rows of a CSV or Parquet file become part of the spec."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eadbench.harness import spec
from eadbench.harness.errors import UserError
from eadbench.harness.spec.target_file import pairs
from eadbench.models.code import NO_CODE
from tests.sweeps import small

PAIRS = [("12", "3"), ("4", "cat, old"), ("4", "dog"), ("a b.png", "3")]


def from_file(path: Path, **changes: Any) -> spec.Spec:
    return small(targets={"file": str(path)}, **changes)


def rows(found: spec.Spec) -> list[tuple[str, str]]:
    assert found.target_file is not None
    return pairs(found.target_file)


def parquet_file(path: Path, columns: dict[str, list[Any]]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    "text",
    [
        'image,target\n12,3\n4,"cat, old"\n4,dog\na b.png,3\n',
        '\ufeffimage,target\r\na b.png,3\r\n4,dog\r\n\r\n12,3\r\n4,"cat, old"',
        'id,target,image\n0,3, 12\n1,"cat, old",4\n2,dog,4\n3,3,a b.png\n',
    ],
    ids=["plain", "BOM, CRLF, an empty line, another order", "other columns"],
)
def test_csv_files_of_the_same_rows_are_the_same_targets(tmp_path: Path, text: str) -> None:
    path = tmp_path / "targets.csv"
    path.write_bytes(text.encode())
    assert rows(from_file(path)) == PAIRS
    as_texts = {"image": [image for image, _ in PAIRS], "target": [target for _, target in PAIRS]}
    other = parquet_file(tmp_path / "targets.parquet", as_texts)
    assert from_file(path).target_choice == from_file(other).target_choice


def test_the_content_is_the_identity(tmp_path: Path) -> None:
    path = tmp_path / "targets.parquet"
    choices = []
    for target in (3, 4):
        parquet_file(path, {"image": [12, 5], "target": [1, target]})
        choices.append(from_file(path).target_choice)
    assert choices[0] != choices[1] and [*choices[0]] == ["file"]
    path.write_text("image,target\n5,4\n12,1\n")  # whatever its name ends in
    assert from_file(path).target_choice == choices[1]


def test_the_resolved_spec_needs_no_file(tmp_path: Path) -> None:
    path = tmp_path / "targets.csv"
    path.write_text('image,target\n12,3\n4,"cat, old"\n')
    resolved = from_file(path, images={})
    path.unlink()
    for code in (True, False):
        assert spec.parse(spec.yaml.parsed(spec.dump(resolved)), code=code) == resolved
    with pytest.raises(UserError, match=r"targets\.rows: is missing"):  # no results folder makes a reader open files
        spec.parse(spec.written(resolved) | {"targets": {"file": "/etc/hostname"}}, code=False)


def test_ten_thousand_images_fit_into_a_spec(tmp_path: Path) -> None:
    path = tmp_path / "targets.csv"
    path.write_text("image,target\n" + "".join(f"ILSVRC2012_val_{i:08d}.JPEG,{i % 1000}\n" for i in range(10_000)))
    resolved = from_file(path, images={})
    assert spec.parse(spec.written(resolved)) == resolved
    path.write_text("image,target\n" + "".join(f"{i},1\n" for i in range(50_001)))
    with pytest.raises(UserError, match=r"must have 1 to 50,000 rows, got 50,001"):
        from_file(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"image,class\n1,2\n", r"targets.file: .*targets.csv: has no column 'target'; its columns are 'image, class'"),
        (b"", "has no column 'image'"),
        (b"image,target\n", "must have 1 to 50,000 rows, got 0"),
        (b"image,target\n1,2\n3\n", "line 3 must have an image and a target"),
        (b"image,target\n1,2\n,3\n", "line 3 must have an image and a target"),
        (b'image,target\n"1,2\n', "must be a CSV file in UTF-8, or a Parquet file"),
        (b"image,target\n\xff,2\n", "must be a CSV file in UTF-8, or a Parquet file"),
        (b"image,target\na\x1b.png,2\n", "must not hold control characters"),
        (b"PAR1 and no more", "must be a whole Parquet file"),
    ],
)
def test_bad_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "targets.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        from_file(path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": [1], "label": [2]}, "has no column 'target'; its columns are image, label"),
        ({"image": [1.5], "target": [2]}, "column 'image' must hold integers or texts, got 1.5"),
        ({"image": [1], "target": [None]}, "column 'target' must hold integers or texts, got None"),
        ({"image": [1], "target": [True]}, "column 'target' must hold integers or texts, got True"),
    ],
)
def test_bad_parquet_files(tmp_path: Path, columns: dict[str, list[Any]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_file(parquet_file(tmp_path / "targets.parquet", columns))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": {"file": "none.csv"}}, r"targets\.file: none\.csv cannot be read: No such file"),
        ({"targets": {"file": "."}}, r"targets\.file: \. cannot be read: Is a directory"),
        ({"targets": {"file": ""}}, "targets: must be all, untargeted, .*, .file: a CSV or Parquet file."),
        ({"targets": {"file": "x", "rows": ["1"]}}, "targets.rows: each must be an image and a target, got '1'"),
        ({"targets": {"file": "x", "rows": ["a\rb,1"]}}, "targets.rows: each must be an image and a target"),
        ({"images": {}}, "images.count: is missing"),
        ({"images": {"split": "train"}, "targets": {"random": 1}}, "images.count: is missing"),
    ],
)
def test_bad_specs(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        small(**changes)


def test_a_stranger_s_spec_reads_no_file_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "targets.csv"
    path.write_text("image,target\n1,2\n")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv(NO_CODE, "1")
    with pytest.raises(UserError, match=r"targets\.file: .* is not below the working folder, and --no-code is given"):
        from_file(path)
