"""The rows of a sweep as CSV, and its adversarial images as PNG."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from eadbench.harness.errors import UserError
from eadbench.harness.messages import printable
from eadbench.harness.parquet.adversarial import read_images
from eadbench.harness.parquet.rows import SCHEMA
from eadbench.harness.results.snapshot import Snapshot

__all__ = ["write_images", "write_rows"]

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


def write_images(snapshot: Snapshot, folder: Path) -> int:
    """Write each image that answers the spec as ``CELL/IMAGE-TARGET.png``, at 8 bits a channel. Return their number.

    Raises
    ------
    UserError
        No images are stored.
    """
    parts = sorted(snapshot.folder.images.glob("[!.]*.parquet"))
    if not parts:
        raise UserError(f"{snapshot.folder.root}: no images are stored there; run its spec with save_images: successes")
    drawn = {victim.digest: frozenset(victim.images) for victim in snapshot.victims}
    written = set()
    for part in parts:
        keys, images = read_images([part])
        for (cell, image, target), pixels in zip(keys.itertuples(index=False), images, strict=True):
            if cell not in snapshot.cells or image not in drawn[snapshot.cells[cell].victim]:
                continue
            name = f"{image}-{'untargeted' if pd.isna(target) else int(target)}.png"
            (folder / cell).mkdir(parents=True, exist_ok=True)
            levels = np.round(255 * pixels).astype(np.uint8)
            Image.fromarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0)).save(folder / cell / name)
            written.add((cell, name))
    return len(written)
