"""Image data sets in Parquet files, in the column layout of the Hugging Face hub, and tables beside them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eadbench.harness.errors import UserError
from eadbench.harness.messages import one_line, shown

__all__ = ["PARQUET", "ImageTable", "column_of", "read_columns", "read_image_table"]

PARQUET = b"PAR1"
"""The first bytes of every Parquet file."""


@dataclass(frozen=True, kw_only=True)
class ImageTable:
    """Encoded images and their labels.

    Parameters
    ----------
    encoded
        N images, each the bytes of an image file.
    labels
        N class indices from 0, or N texts.
    class_names
        Names of the classes from the files' metadata; None if it has none.
    rows
        Each file and its number of rows, in the order of the images.
    """

    encoded: list[bytes]
    labels: list[int] | list[str]
    class_names: tuple[str, ...] | None
    rows: list[tuple[Path, int]]


def column_of(path: Path, given: str | None, known: Sequence[str]) -> str:
    """Return the column that is given, or the first of the known ones that a file has.

    Raises
    ------
    UserError
        The file is not Parquet, or has none of them.
    """
    try:
        with pq.ParquetFile(path) as file:
            present = file.schema_arrow.names
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error
    column = next((name for name in ([given] if given is not None else known) if name in present), None)
    if column is None:
        wanted = repr(given) if given is not None else " or ".join(map(repr, known))
        raise UserError(f"{path} has no column {wanted}; its columns are {', '.join(present)}")
    return column


def read_image_table(paths: Sequence[Path], image_column: str, label_column: str) -> ImageTable:
    """Read image files in Parquet, in the order of `paths`; without paths, return an empty table.

    The image column is `struct<bytes, path>`, as the hub writes it, or binary. Labels are integers or texts.

    Raises
    ------
    UserError
        A file is not Parquet, a column is missing or of another type, an image or a label is null, a label is
        negative, files name classes differently, or files have no rows.
    """
    encoded: list[bytes] = []
    labels: list[Any] = []
    names: tuple[str, ...] | None = None
    rows: list[tuple[Path, int]] = []
    for path in paths:
        table = _read(path, [image_column, label_column])
        encoded += _image_bytes(table, image_column, path)
        labels += _labels(table, label_column, path)
        rows.append((path, table.num_rows))
        own_names = _class_names(table.schema, label_column)
        if names and own_names and names != own_names:
            raise UserError(f"{path} names other classes than {paths[0]}, so that labels differ in meaning")
        names = names or own_names
    if paths and not encoded:
        raise UserError(f"{', '.join(map(str, paths))} holds no images")
    return ImageTable(encoded=encoded, labels=labels, class_names=names, rows=rows)


def read_columns(content: bytes, columns: Sequence[str], where: str) -> list[list[str]]:
    """Return columns of integers or texts of a Parquet file as texts.

    Raises
    ------
    UserError
        The file is damaged, or a column is missing, of another type, or has a null.
    """
    try:
        with pq.ParquetFile(pa.BufferReader(content)) as file:
            present = file.schema_arrow.names
            missing = [name for name in columns if name not in present]
            table = None if missing else file.read(columns=list(columns))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{where}: must be a whole Parquet file: {one_line(error)}") from error
    if table is None:
        raise UserError(f"{where}: has no column {missing[0]!r}; its columns are {', '.join(present)}")
    lists = [table.column(name).to_pylist() for name in columns]
    for name, values in zip(columns, lists, strict=True):
        if wrong := [value for value in values if isinstance(value, bool) or not isinstance(value, int | str)]:
            raise UserError(f"{where}: column {name!r} must hold integers or texts, got {shown(wrong[0])}")
    return [list(map(str, values)) for values in lists]


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} is not a readable Parquet file: {one_line(error)}")


def _read(path: Path, columns: list[str]) -> pa.Table:
    """Read some columns of a file."""
    for column in columns:
        column_of(path, column, ())
    try:
        with pq.ParquetFile(path) as file:
            return file.read(columns=columns)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


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


def _labels(table: pa.Table, column: str, path: Path) -> list[Any]:
    """Return the class indices or texts of a column."""
    values = table.column(column)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    texts = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
    if not (texts or pa.types.is_integer(values.type)):
        raise UserError(f"{path}: column {column!r} must hold integers or texts, got {values.type}")
    if values.null_count:
        raise UserError(f"{path}: column {column!r} must hold class indices from 0, or texts; got a null")
    try:
        labels: list[Any] = values.to_pylist()
    except ValueError as error:  # bytes that are no UTF-8
        raise UserError(f"{path}: column {column!r} holds texts that cannot be read: {one_line(error)}") from error
    if not texts and min(labels, default=0) < 0:
        raise UserError(f"{path}: column {column!r} must hold class indices from 0, got {min(labels)}")
    return labels


def _class_names(schema: pa.Schema, label_column: str) -> tuple[str, ...] | None:
    """Return the class names of the hub's ClassLabel feature, from the schema's metadata.

    The metadata may be any JSON, or none at all: what is no list of names is ignored.
    """
    try:
        content = json.loads((schema.metadata or {}).get(b"huggingface", b"null"))
    except (ValueError, RecursionError):
        return None
    for key in ("info", "features", label_column, "names"):
        content = content.get(key) if isinstance(content, dict) else None
    named = isinstance(content, list) and content and all(isinstance(name, str) for name in content)
    return tuple(content) if named else None
