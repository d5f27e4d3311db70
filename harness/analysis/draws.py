"""Which target the average case draws for each image: a hash of the spec's seed and the image's name alone."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["KEY", "drawn_targets", "image_hashes"]

KEY = ("dataset", "split", "image")
"""The columns that name an image."""


def drawn_targets(rows: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Return the target of each image that the average case draws, a line per image.

    Parameters
    ----------
    rows
        The columns :data:`KEY` and `target` of rows with every target of every image, each at least once.
    seed
        The spec's seed.
    """
    examples = rows[[*KEY, "target"]].drop_duplicates().sort_values([*KEY, "target"])
    images = examples[[*KEY]].drop_duplicates()
    names = [f"{seed}/{dataset}/{split}" for dataset, split in zip(images["dataset"], images["split"], strict=True)]
    hashes = image_hashes(names, np.arange(len(names)), images["image"].to_numpy(np.int64))
    starts = np.flatnonzero(~examples.duplicated([*KEY]).to_numpy())
    counts = np.diff(np.append(starts, len(examples)))
    rows_drawn = starts + (hashes % counts.astype(np.uint64)).astype(np.int64)
    return examples.iloc[rows_drawn].reset_index(drop=True)


def image_hashes(names: Sequence[str], splits: NDArray[np.int64], images: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Hash images (N,) of splits (N,), numbers of names: SplitMix64 (Steele et al. 2014) seeded by the name's hash."""
    bases = np.array([_digest(name) for name in names], dtype=np.uint64)[splits]
    state = (images.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    state = state + bases
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashes: NDArray[np.uint64] = state ^ (state >> np.uint64(31))
    return hashes


def _digest(name: str) -> int:
    """Return a 64-bit hash of a name, the same on every machine."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
