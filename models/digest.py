"""Digests: short names computed from content alone."""

import hashlib
import json
from pathlib import Path

__all__ = ["canonical_json", "digest_of", "sha256_of_file"]


def digest_of(value: object) -> str:
    """Return the first 16 hex digits of the SHA-256 of a value's canonical JSON.

    The order of keys makes no difference, nor does a tuple in place of a list. But 1 and 1.0 differ: convert numbers
    to the type of their field first.

    Raises
    ------
    ValueError
        The value holds a NaN or an infinity.
    TypeError
        The value holds anything else that JSON cannot represent.
    """
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()[:16]


def canonical_json(value: object) -> str:
    """Return a value as JSON with sorted keys, without spaces, in ASCII: equal content gives an equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
