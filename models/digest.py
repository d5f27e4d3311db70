"""Digests: short names that follow from content alone."""

import hashlib
import json
from pathlib import Path

__all__ = ["digest_of", "sha256_of_file"]


def digest_of(value: object) -> str:
    """First 16 hex digits of the SHA-256 of a value's canonical JSON.

    Canonical: keys sorted, no spaces, ASCII. Key order and tuple or list make no difference; 1 and 1.0 do, so
    convert numbers to the type that their field has before they come here.

    Raises
    ------
    ValueError
        A NaN or an infinity, which JSON cannot hold.
    TypeError
        Anything else that JSON cannot hold.
    """
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:16]


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
