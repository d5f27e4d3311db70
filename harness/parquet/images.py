"""Image data sets in Parquet files, in the column layout of the Hugging Face hub."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from eadbench.harness.errors import UserError

__all__ = ["ImageTable", "read_image_table"]


@dataclass(frozen=True, kw_only=True)
class ImageTable:
    """Encoded images and their labels.

    Parameters
    ----------
    encoded
        N images, each the bytes of a PNG or JPEG file.
    labels
        N class indices from 0.
    class_names
        Names of the classes from the files' metadata; None if it has none.
    """

    encoded: list[bytes]
    labels: list[int]
    class_names: tuple[str, ...] | None


def read_image_table(paths: Sequence[Path], image_column: str, label_column: str) -> ImageTable:
    """Read image files in Parquet, in the order of `paths`.

    The image column is `struct<bytes, path>`, as the hub writes it, or binary.

    Raises
    ------
    UserError
        A file is not Parquet, a column is missing or of another type, an image or a label is null, a label is
        negative, or there are no rows.
    """
    encoded: list[bytes] = []
    labels: list[int] = []
    names: tuple[str, ...] | None = None
    for path in paths:
        table = _read(path, [image_column, label_column])
        encoded += _image_bytes(table, image_column, path)
        labels += _labels(table, label_column, path)
        names = names or _class_names(table.schema, label_column)
    if not encoded:
        raise UserError(f"{', '.join(map(str, paths))} holds no images")
    return ImageTable(encoded=encoded, labels=labels, class_names=names)


def _read(path: Path, columns: list[str]) -> pa.Table:
    """Read some columns of a file."""
    try:
        with pq.ParquetFile(path) as file:
            present = file.schema_arrow.names
            missing = [column for column in columns if column not in present]
            if missing:
                raise UserError(f"{path} has no column {missing[0]!r}; its columns are {', '.join(present)}")
            return file.read(columns=columns)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path} is not a readable Parquet file: {error}") from error


def _image_bytes(table: pa.Table, column: str, path: Path) -> list[bytes]:
    """Return the encoded images of a column."""
    images = table.column(column)
    if pa.types.is_struct(images.type) and images.type.get_field_index("bytes") >= 0:
        images = pa.chunked_array([chunk.field("bytes") for chunk in images.chunks], type=pa.binary())
    if not (pa.types.is_binary(images.type) or pa.types.is_large_binary(images.type)):
        types = "binary or struct<bytes: binary, path: string>"
        raise UserError(f"{path}: column {column!r} must be {types}, got {images.type}")
    if images.null_count:
        raise UserError(f"{path}: column {column!r} has {images.null_count} rows without an image's bytes")
    encoded: list[bytes] = images.to_pylist()
    return encoded


def _labels(table: pa.Table, column: str, path: Path) -> list[int]:
    """Return the class indices of a column."""
    values = table.column(column)
    if not pa.types.is_integer(values.type):
        raise UserError(f"{path}: column {column!r} must hold integers, got {values.type}")
    labels: list[int] = values.to_pylist()
    if values.null_count or min(labels, default=0) < 0:
        raise UserError(f"{path}: column {column!r} must hold class indices from 0, got a null or negative one")
    return labels


def _class_names(schema: pa.Schema, label_column: str) -> tuple[str, ...] | None:
    """Return the class names of the hub's ClassLabel feature, from the schema's metadata."""
    metadata = (schema.metadata or {}).get(b"huggingface")
    if metadata is None:
        return None
    features = json.loads(metadata).get("info", {}).get("features", {})
    names = features.get(label_column, {}).get("names")
    return tuple(names) if names else None
