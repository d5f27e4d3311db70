"""Random images, and files of them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image


def pixels(seed: int, *shape: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png(image: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def in_unit_range(images: torch.Tensor) -> bool:
    return images.dtype == torch.float32 and bool(images.min() >= 0) and bool(images.max() <= 1)


def write_table(path: Path, images: list[Any], labels: list[Any], **changes: Any) -> None:
    """A Parquet file as the hub writes it."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    encoded = [None if image is None else {"bytes": image, "path": None} for image in images]
    columns = {"img": pa.array(encoded, kind), "label": pa.array(labels), **changes}
    pq.write_table(pa.table(columns), path)


def write_folder(root: Path, files: dict[str, np.ndarray[Any, Any]]) -> None:
    for name, image in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / name)


def iter_tables(file: pq.ParquetFile, rows: int) -> Any:
    for batch in file.iter_batches(batch_size=rows):
        yield pa.Table.from_batches([batch])
