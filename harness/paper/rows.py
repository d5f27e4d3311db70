"""The rows of several folders, each example once."""

import numpy as np
import pandas as pd

from eadbench.harness.analysis.aggregate import METRICS
from eadbench.harness.errors import UserError

__all__ = ["unique_rows"]

_EXAMPLE = ["cell", "evaluated_on", "split", "image", "target"]
_ROUNDING = 0.01
"""The relative difference of two distances that another device, batch size or shard size may explain."""


def unique_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Return every example once, whatever the order of the rows.

    Parameters
    ----------
    rows
        Targeted result rows. Their column `folder`, if there is one, names them in errors.

    Raises
    ------
    UserError
        Two rows of one example differ in success, or by more than rounding in a distance.
    """
    twice = rows[rows.duplicated(_EXAMPLE, keep=False)].sort_values([*METRICS, "success"], kind="stable")
    if twice.empty:
        return rows.reset_index(drop=True)
    first = twice.drop_duplicates(_EXAMPLE)
    _refuse_contradictions(twice, first)
    return pd.concat([rows.drop(index=twice.index), first], ignore_index=True)


def _refuse_contradictions(twice: pd.DataFrame, first: pd.DataFrame) -> None:
    """Compare every row with the first one of its example."""
    pairs = twice.merge(first, on=_EXAMPLE, suffixes=("", "_first"))
    differs = pairs["success"].to_numpy(dtype=np.bool_) != pairs["success_first"].to_numpy(dtype=np.bool_)
    succeeds = pairs["success"].to_numpy(dtype=np.bool_)
    for metric in METRICS:
        ours, theirs = (pairs[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in (metric, f"{metric}_first"))
        differs |= succeeds & ~np.isclose(ours, theirs, rtol=_ROUNDING, atol=0.0)
    if differs.any():
        pair = pairs[differs].iloc[0]
        folders = sorted({str(pair.get(name, "")) for name in ("folder", "folder_first")} - {""})
        raise UserError(
            f"results: image {pair['image']}, target {pair['target']} of cell {pair['cell']} has contradictory rows "
            f"in {' and '.join(folders) or 'the given rows'}; give one of them"
        )
