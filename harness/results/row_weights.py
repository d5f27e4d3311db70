"""The weights that rows were computed with, against those that a results folder holds now.

A recipe that is trained again, on another device or with another version of torch, gives another network of the same
digest. Rows of both must not meet in one cell.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from eadbench.harness.errors import DamagedResults
from eadbench.harness.results.folder import Results
from eadbench.harness.results.model_files import recorded_sha256

__all__ = ["check_weights", "other_weights"]


def check_weights(results: Results) -> None:
    """Check that all rows were computed with the weights that the folder holds.

    Raises
    ------
    DamagedResults
        Some were not, or a part has lost rows.
    """
    for error in other_weights(results):
        raise error


def other_weights(results: Results) -> Iterator[DamagedResults]:
    """Yield an error for each stored victim that is not the network of all its rows, with the parts of the others.

    Raises
    ------
    DamagedResults
        A part has lost rows, or is no part.
    """
    parts: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for part, note in results.notes().items():
        for victim, sha256 in note.weights.items():
            parts[victim][sha256].append(part)
    for victim, by_weights in parts.items():
        folder = results.model(victim)
        others = [part for sha256, some in by_weights.items() if sha256 != recorded_sha256(folder) for part in some]
        if others and recorded_sha256(folder) is not None:
            error = DamagedResults(
                f"{folder}: is another network than the one behind {len(others):,} parts of rows, such as {others[0]}; "
                "put its folder back, or `eadbench verify DIR --repair` sets those rows aside, then run again"
            )
            error.files = others
            yield error
