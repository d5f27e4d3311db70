"""The rows of several folders, each example once."""

import pandas as pd

from eadbench.harness.analysis.aggregate import METRICS
from eadbench.harness.errors import UserError
from eadbench.harness.parquet.stored import contradictory

__all__ = ["unique_rows"]

_EXAMPLE = ["cell", "evaluated_on", "split", "image", "target"]


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
    differs = contradictory(pairs, "", "_first")
    if differs.any():
        pair = pairs[differs].iloc[0]
        folders = sorted({str(pair.get(name, "")) for name in ("folder", "folder_first")} - {""})
        raise UserError(
            f"results: image {pair['image']}, target {pair['target']} of cell {pair['cell']} has contradictory rows "
            f"in {' and '.join(folders) or 'the given rows'}; give one of them"
        )
