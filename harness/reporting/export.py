"""The rows of a sweep as CSV, and its adversarial images as PNG."""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from eadbench.harness.errors import EnvironmentFault, UserError
from eadbench.harness.messages import printable
from eadbench.harness.parquet.adversarial import Images, read_images
from eadbench.harness.parquet.rows import SCHEMA, Key, keys_of, read_rows
from eadbench.harness.results.snapshot import Snapshot

__all__ = ["write_images", "write_rows"]

Levels = NDArray[np.uint8]

_CHANNELS = (1, 3, 4)
_COLUMNS = (
    *("dataset", "split", "image", "label", "target", "model", "arch", "defense", "attack", "norm", "decision_rule"),
    *("beta", "kappa", "parameters", "cell", "success", "l0", "l1", "l2", "linf"),
    *("quantised", "quantised_l0", "quantised_l1", "quantised_l2", "quantised_linf"),
)
"""The columns of a row that its file has as metadata."""

AT_ONCE = 2**19
"""Rows in memory at once; more only if a single line of a table has more."""
_TEXTS = [field.name for field in SCHEMA if str(field.type) == "string"]


def write_rows(snapshot: Snapshot, path: Path) -> int:
    """Write the rows that answer the spec in full precision, and return their number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(f"{','.join(SCHEMA.names)}\n")
        for rows in snapshot.stored_rows.batches(SCHEMA.names, at_most=AT_ONCE):
            printed = rows.assign(**{name: rows[name].map(printable, na_action="ignore") for name in _TEXTS})
            printed[SCHEMA.names].to_csv(file, header=False, index=False)
            count += len(rows)
    return count


def write_images(snapshot: Snapshot, folder: Path) -> tuple[int, int]:
    """Write each image that answers the spec as ``CELL/IMAGE-TARGET.png``, with its row as the file's metadata.

    The images are rounded to 8 bits a channel: to the levels that a search found, if the spec asked for one, else to
    the nearest ones. Every file is read again and compared with what was written.

    Returns
    -------
    int, int
        How many images there are, and how many of them succeed as the file has them.

    Raises
    ------
    UserError
        No images are stored, or PNG cannot hold them.
    EnvironmentFault
        A file does not read as it was written.
    """
    parts = sorted(snapshot.folder.images.glob("[!.]*.parquet"))
    if not parts:
        raise UserError(f"{snapshot.folder.root}: no images are stored there; run its spec with save_images: successes")
    drawn = {victim.digest: frozenset(victim.images) for victim in snapshot.victims}
    written, succeeding = set(), set()
    for part in parts:
        rows = read_rows([snapshot.folder.part(part.stem)], columns=_COLUMNS, cells=list(snapshot.cells))
        by_key = dict(zip(keys_of(rows), rows.to_dict("records"), strict=True))
        searched = _images([snapshot.folder.rounded_part(part.stem)])
        for key, pixels in _images([part]).items():
            cell, image, target = key
            if (row := by_key.get(key)) is None or image not in drawn[snapshot.cells[cell].victim]:
                continue
            file = folder / cell / f"{image}-{'untargeted' if target is None else target}.png"
            _write(file, np.round(255 * searched.get(key, pixels)).astype(np.uint8), row)
            written.add(file)
            if row["quantised"]:
                succeeding.add(file)
    return len(written), len(succeeding)


def _images(parts: Sequence[Path]) -> dict[Key, Images]:
    """Return the images (C, H, W) of the parts that exist, by their keys."""
    keys, images = read_images([part for part in parts if part.is_file()])
    return dict(zip(keys_of(keys), images, strict=True))


def _write(file: Path, levels: Levels, row: Mapping[Hashable, Any]) -> None:
    """Write levels (C, H, W) as a PNG, and check that it reads as the same."""
    if len(levels) not in _CHANNELS:
        raise UserError(f"--images: PNG holds 1, 3 or 4 channels, and the images have {len(levels)}; use their Parquet")
    facts = PngInfo()
    for name, value in row.items():
        if not pd.isna(value):
            facts.add_text(f"eadbench:{name}", str(value))
    plain = levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(plain).save(file, pnginfo=facts)
    with Image.open(file) as read:
        if not np.array_equal(np.asarray(read), plain):
            raise EnvironmentFault(f"{file}: does not read as it was written; is the disk sound?")
