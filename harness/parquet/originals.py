"""The images that a sweep attacks, in Parquet: the class and the file of each, for readers of the rows.

Columns: split, image (its index, as in the rows), label, class (the label's name), and file (null for images that are
no files), relative to the data set's folder.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from eadbench.harness.parquet.notes import noted
from eadbench.harness.parquet.query import FILES, Files
from eadbench.models import replace_file

__all__ = ["SCHEMA", "WHAT", "Original", "file_of", "write_originals"]

WHAT = "the images of a sweep"
"""Content of the file, for error messages."""
_TEXT = pa.string()
SCHEMA = pa.schema([("split", _TEXT), ("image", pa.int64()), ("label", pa.int64()), ("class", _TEXT), ("file", _TEXT)])
_FILE = f"SELECT file FROM {FILES} WHERE split = $split AND image = $image LIMIT 1"


class Original(NamedTuple):
    """An image of a split, with the name of its class and of its file."""

    split: str
    image: int
    label: int
    class_name: str
    file: str | None


def write_originals(path: Path, originals: Sequence[Original]) -> None:
    """Write images to `path`, whole or not at all, unless it has them already."""
    content = pa.BufferOutputStream()
    columns = zip(*originals, strict=True) if originals else [[]] * len(SCHEMA)
    arrays = [pa.array(list(column), field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    pq.write_table(noted(pa.Table.from_arrays(arrays, schema=SCHEMA), {}), content, compression="zstd")
    encoded: bytes = content.getvalue().to_pybytes()
    if not path.is_file() or path.read_bytes() != encoded:
        replace_file(path, encoded)


def file_of(path: Path, split: str, image: int) -> str | None:
    """Return the file of an image; None if it is no file, or nothing is known of it.

    Raises
    ------
    DamagedResults
        :func:`write_originals` did not write `path`.
    """
    if not path.is_file():
        return None
    names = Files([path], SCHEMA, WHAT).ask(_FILE, {"split": split, "image": image})["file"].to_pylist()
    return next(iter(names), None)
