"""A Merkle tree over rows: one hash that changes if any row does, and not with the files that hold the rows.

The leaves of a line (a cell tested on one victim) are its rows, in the order of image and target. The leaves of the
root are the lines, in the order of cell and victim. As in RFC 6962, leaves and nodes are hashed with other first bytes,
and a node without a partner moves up as it is.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eadbench.models import canonical_json

__all__ = ["root_of", "row_text"]

_LEAF, _NODE = b"\x00", b"\x01"


def row_text(row: Mapping[str, Any]) -> str:
    """Return a row as canonical JSON, without nulls: a column that is added later changes no row that lacks it."""
    return canonical_json({name: value for name, value in row.items() if value is not None})


def root_of(leaves: Iterable[str]) -> str:
    """Return the root of a Merkle tree over texts as 64 hex digits; of none, the SHA-256 of nothing."""
    level = [hashlib.sha256(_LEAF + leaf.encode()).digest() for leaf in leaves]
    while len(level) > 1:
        level = _parents(level)
    return (level[0] if level else hashlib.sha256().digest()).hex()


def _parents(level: Sequence[bytes]) -> list[bytes]:
    pairs = [hashlib.sha256(_NODE + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
    return pairs + [level[-1]] * (len(level) % 2)
