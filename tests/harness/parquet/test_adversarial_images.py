"""Stored adversarial images: bit for bit what was written, and found again by cell and image."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eadbench.harness.errors import DamagedResults, UserError
from eadbench.harness.parquet.adversarial import read_images, write_images
from eadbench.harness.parquet.rows import Key

ODD = [0.1, 1 - 2**-24, 5e-324, 2**-149, 1.1754942e-38, 0.0, -0.0, 1.0, 1 / 3, float("inf"), float("nan")]
KEYS: list[Key] = [("a" * 16, 3, 0), ("b" * 16, 3, 0), ("a" * 16, 7, None), ("b" * 16, 2**40, 9)]


def images(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def write(path: Path, keys: list[Key] = KEYS, shape: tuple[int, int, int] = (3, 4, 5), seed: int = 0) -> np.ndarray:
    pixels = images((len(keys), *shape), seed)
    write_images(path, keys, pixels)
    return pixels


def bits(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).view(np.uint32)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 28, 28), (3, 2, 5)])
def test_images_come_back_bit_for_bit_with_their_keys(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    pixels = images((len(KEYS), *shape))
    np.put(pixels, range(len(ODD)), np.array(ODD, dtype=np.float32), mode="wrap")
    write_images(tmp_path / "part.parquet", KEYS, pixels)
    keys, found = read_images([tmp_path / "part.parquet"])
    assert found.shape == pixels.shape
    assert found.dtype == np.float32
    np.testing.assert_array_equal(bits(found), bits(pixels))
    assert keys["cell"].tolist() == [cell for cell, _, _ in KEYS]
    assert keys["image"].tolist() == [image for _, image, _ in KEYS]
    assert [None if pd.isna(target) else target for target in keys["target"]] == [0, 0, None, 9]
    assert keys["target"].dtype == "Int64"


def test_a_view_that_is_not_contiguous_is_stored_as_it_reads(tmp_path: Path) -> None:
    channels_last = images((len(KEYS), 4, 5, 3))
    write_images(tmp_path / "part.parquet", KEYS, channels_last.transpose(0, 3, 1, 2))
    _, found = read_images([tmp_path / "part.parquet"])
    np.testing.assert_array_equal(found, channels_last.transpose(0, 3, 1, 2))


def test_any_reader_of_parquet_gets_the_pixels(tmp_path: Path) -> None:
    pixels = write(tmp_path / "part.parquet")
    table = pq.read_table(tmp_path / "part.parquet")
    np.testing.assert_array_equal(np.array(table["pixels"].to_pylist(), np.float32), pixels.reshape(len(KEYS), -1))
    facts = {name.decode(): json.loads(text) for name, text in table.schema.metadata.items()}
    assert facts.pop("eadbench")["rows"] == len(KEYS)
    assert facts == {"shape": [3, 4, 5], "layout": "CHW", "range": [0, 1]}


@pytest.mark.parametrize(
    ("cells", "wanted", "kept"),
    [
        (["a" * 16], None, [0, 2, 4, 6]),
        (None, [3], [0, 1, 4, 5]),
        (None, [np.int64(3)], [0, 1, 4, 5]),
        (["b" * 16], [3, 7], [1, 5]),
        (["c" * 16], None, []),
        ([], None, []),
        (None, [], []),
        (None, None, [0, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_cells_and_images_are_picked_from_every_part(
    tmp_path: Path, cells: list[str] | None, wanted: list[int] | None, kept: list[int]
) -> None:
    parts = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    pixels = np.concatenate([write(part, seed=seed) for seed, part in enumerate(parts)])
    keys, found = read_images(parts, cells=cells, images=wanted)
    np.testing.assert_array_equal(found, pixels[kept])
    assert keys["cell"].tolist() == [(KEYS * 2)[i][0] for i in kept]
    assert keys.index.tolist() == list(range(len(kept)))


def test_a_part_without_images_keeps_its_shape(tmp_path: Path) -> None:
    empty, full = tmp_path / "empty.parquet", tmp_path / "full.parquet"
    write(empty, [])
    keys, found = read_images([empty])
    assert (found.shape, found.dtype, len(keys)) == ((0, 3, 4, 5), np.float32, 0)
    pixels = write(full)
    keys, found = read_images([empty, full])
    np.testing.assert_array_equal(found, pixels)
    assert keys["target"].dtype == "Int64"


def test_no_parts_are_no_images() -> None:
    keys, found = read_images([])
    assert found.shape == (0, 0, 0, 0)
    assert list(keys.columns) == ["cell", "image", "target"]
    assert len(keys) == 0


def test_what_is_read_may_be_written_to(tmp_path: Path) -> None:
    write(tmp_path / "part.parquet")
    _, found = read_images([tmp_path / "part.parquet"])
    found[:] = 0


def test_equal_content_gives_equal_bytes_and_leaves_nothing_beside(tmp_path: Path) -> None:
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    for path in (one, two):
        write(path)
    assert one.read_bytes() == two.read_bytes()
    assert sorted(tmp_path.iterdir()) == [one, two]


def test_many_images_are_read_across_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eadbench.harness.parquet.adversarial._ROW_GROUP_BYTES", 2 * 4 * 60)
    pixels = write(tmp_path / "part.parquet")
    assert pq.ParquetFile(tmp_path / "part.parquet").num_row_groups == 2
    _, found = read_images([tmp_path / "part.parquet"], images=[7, 2**40])
    np.testing.assert_array_equal(found, pixels[2:])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        ("no Parquet file", "Parquet magic bytes"),
        (pa.table({"cell": ["a"]}), "no image shape"),
        (pa.table({"cell": ["a"]}).replace_schema_metadata({"shape": "[1, 1, 1]"}), "columns are not cell, image"),
        (pa.table({"cell": ["a"]}).replace_schema_metadata({"shape": "1"}), "not adversarial images"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path: Path, content: pa.Table | str | None, says: str) -> None:
    path = tmp_path / "other.parquet"
    if isinstance(content, str):
        path.write_text(content)
    elif content is not None:
        pq.write_table(content, path)
    with pytest.raises(DamagedResults, match=says) as caught:
        read_images([path])
    assert str(caught.value).startswith(f"{path}: not adversarial images of a sweep: ")
    assert "\n" not in str(caught.value)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedResults, match="not adversarial images"):
        read_images([path])


def test_parts_of_two_shapes_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "one.parquet")
    write(tmp_path / "two.parquet", shape=(1, 4, 5))
    with pytest.raises(UserError, match=r"two\.parquet: holds images of shape \(1, 4, 5\)"):
        read_images([tmp_path / "one.parquet", tmp_path / "two.parquet"])


@pytest.mark.parametrize("wrong", [images((3, 1, 2, 2)), images((4, 2, 2)), images((4, 1, 2, 2)).astype(np.float64)])
def test_images_that_do_not_go_with_their_keys_are_refused(tmp_path: Path, wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"^images must be float32 \(4, C, H, W\)"):
        write_images(tmp_path / "part.parquet", KEYS, wrong)
