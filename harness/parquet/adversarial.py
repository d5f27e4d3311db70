"""Adversarial images in Parquet, bit for bit, for any reader of Parquet.

Columns: cell, image, target (null if untargeted) and pixels, a list of C·H·W float32 in the order (C, H, W). The
schema's metadata holds, as JSON, the shape (C, H, W), the order of the axes (`layout`) and the range of a pixel.

Pixels are stored plain under zstd. For examples of EAD and I-FGM on MNIST and CIFAR-10, the files are 0.6 to 0.85
times as large as with BYTE_STREAM_SPLIT, because pixels that an attack leaves alone repeat whole. C&W moves every
pixel; its files alone would be a tenth smaller with BYTE_STREAM_SPLIT. Storing the differences from the originals
would save a third at best.
"""

import json
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from eadbench.harness.errors import DamagedResults, UserError
from eadbench.harness.messages import one_line, shown
from eadbench.harness.parquet.notes import check_rows, noted
from eadbench.harness.parquet.query import FILES, Files
from eadbench.harness.parquet.rows import Key, frame_of
from eadbench.harness.storage import for_arrow, is_fault_of_storage
from eadbench.models import replace_file

__all__ = ["Images", "check_images", "read_images", "write_images"]

Images = NDArray[np.float32]

MOST_BYTES = 3 * 2**27
"""Bytes of the images that are read to be shown. A few kilobytes of Parquet can hold gigabytes."""
WHAT = "adversarial images of a sweep"
"""Content of the files, for error messages."""

_COLUMNS = ["cell", "image", "target"]
_SHAPE = b"shape"
_LEVEL = 9
_ROW_GROUP_BYTES = 2**26


def write_images(path: Path, keys: Sequence[Key], images: Images) -> None:
    """Commit adversarial images to `path`, whole or not at all. Equal content gives equal bytes.

    Parameters
    ----------
    keys
        Cell, image and target of each adversarial image; the target is None for an untargeted attack.
    images
        float32 (N, C, H, W), one image for each key; N may be 0.

    Raises
    ------
    ValueError
        `images` has another type or number of axes, or another length than `keys`.
    """
    if images.dtype != np.float32 or images.ndim != 4 or len(images) != len(keys):
        raise ValueError(f"images must be float32 ({len(keys)}, C, H, W), got {images.dtype} {images.shape}")
    shape = images.shape[1:]
    schema = _schema(shape)
    pixels = pa.array(np.ascontiguousarray(images).ravel())
    columns = [pa.array([key[i] for key in keys], schema.field(name).type) for i, name in enumerate(_COLUMNS)]
    columns.append(pa.FixedSizeListArray.from_arrays(pixels, type=schema.field("pixels").type))
    content = pa.BufferOutputStream()
    pq.write_table(
        noted(pa.Table.from_arrays(columns, schema=schema), {}),
        content,
        row_group_size=max(1, _ROW_GROUP_BYTES // max(1, 4 * int(np.prod(shape)))),
        compression="zstd",
        compression_level=_LEVEL,
        use_dictionary=_COLUMNS,
    )
    replace_file(path, content.getvalue().to_pybytes())


def read_images(
    parts: Sequence[Path], *, cells: Collection[str] | None = None, images: Collection[int] | None = None
) -> tuple[pd.DataFrame, Images]:
    """Read the adversarial images in `parts`, or of some cells or images only, in the order of the files.

    Returns
    -------
    DataFrame
        cell, image and target (Int64, null where untargeted): N rows.
    ndarray
        float32 (N, C, H, W); (0, 0, 0, 0) if there are no parts.

    Raises
    ------
    DamagedResults
        :func:`write_images` did not write a part.
    UserError
        The images of two parts differ in shape.
    """
    shapes = [_shape(part) for part in parts]
    for part, shape in zip(parts, shapes, strict=True):
        if shape != shapes[0]:
            raise UserError(
                f"{part}: holds images of shape {shape}, but {parts[0]} of {shapes[0]}; read one data set's"
            )
    shape = shapes[0] if shapes else (0, 0, 0)
    if not parts:
        return frame_of(_schema(shape).empty_table().select(_COLUMNS)), np.empty((0, *shape), np.float32)
    wanted = {"cells": cells, "images": images}
    # DuckDB takes no integers of NumPy.
    given = {name: pa.array(sorted(values)).to_pylist() for name, values in wanted.items() if values is not None}
    conditions = [f"{name[:-1]} IN (SELECT unnest(${name}))" for name in given]
    source = f"FROM {FILES} WHERE {' AND '.join(conditions) or 'true'}"
    files, size = Files(parts, _schema(shape), WHAT), int(np.prod(shape))
    if images is not None:
        count = files.ask(f"SELECT count(*) {source}", given).column(0)[0].as_py()
        if 4 * size * count > MOST_BYTES:
            raise UserError(
                f"{parts[0].parent}: {count:,} images of {shape} are stored of {len(images)} images' examples"
            )
    table = files.ask(f"SELECT {', '.join(_COLUMNS)}, pixels {source} ORDER BY file_index, file_row_number", given)
    pixels = table.column("pixels").combine_chunks()
    values = np.array(pixels.flatten().to_numpy(zero_copy_only=False))
    if len(values) != size * len(table) or pixels.null_count:
        raise UserError(f"{parts[0].parent}: its images are not of the shape {shape} that their files state")
    return frame_of(table.select(_COLUMNS)), values.reshape(len(table), *shape)


def check_images(part: Path) -> None:
    """Read a whole part, and check its columns, the number of its images and their checksum.

    Raises
    ------
    DamagedResults
        The part is not as it was written.
    """
    check_rows(part, WHAT, _schema(_shape(part)))


def _shape(part: Path) -> tuple[int, ...]:
    """Return the shape of a file's images."""
    try:
        [path], filesystem = for_arrow([part])
        schema = pq.read_schema(path, filesystem=filesystem)
        shape = tuple(json.loads((schema.metadata or {})[_SHAPE]))
        if not (len(shape) == 3 and all(type(side) is int and 0 < side < 2**16 for side in shape)):
            raise ValueError(f"its images cannot have the shape {shown(shape)}")
        if not schema.equals(_schema(shape)):
            raise ValueError("its columns are not cell, image, target and pixels")
        return shape
    except KeyError as error:
        raise DamagedResults.of(part, f"not {WHAT}: no image shape in its metadata") from error
    except (pa.ArrowException, OSError, ValueError, TypeError, OverflowError, RecursionError) as error:
        if is_fault_of_storage(error):
            raise
        raise DamagedResults.of(part, f"not {WHAT}: {one_line(error)}") from error


def _schema(shape: Sequence[int]) -> pa.Schema:
    """Return the columns of adversarial images of one shape."""
    pixel = pa.field("element", pa.float32(), nullable=False)
    fields = [
        pa.field("cell", pa.string(), nullable=False),
        pa.field("image", pa.int64(), nullable=False),
        pa.field("target", pa.int64()),
        pa.field("pixels", pa.list_(pixel, int(np.prod(shape))), nullable=False),
    ]
    facts = {_SHAPE: list(shape), b"layout": "CHW", b"range": [0, 1]}
    return pa.schema(fields, metadata={name: json.dumps(value).encode() for name, value in facts.items()})
