"""What attacks have learnt of the victims of a sweep: the figures, without the tensors."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eadbench.harness.errors import UserError

__all__ = ["Learnt", "learnt_by_attacks"]

_LONGEST_HEADER = 100_000_000
"""Bytes of the longest header that safetensors allows."""


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """What an attack with its parameters has learnt of a victim."""

    digest: str
    attack: str
    parameters: Mapping[str, Any]
    victim: str
    """Digest of the victim."""
    figures: Mapping[str, float]
    """By name, such as the agreement of a substitute with the victim."""


def learnt_by_attacks(root: Path) -> Sequence[Learnt]:
    """Read the figures of all that attacks have learnt, in the results folder `root`.

    Raises
    ------
    UserError
        A file is damaged.
    """
    found = []
    for path in sorted((root / "learnt").glob("[!.]*.safetensors")):
        try:
            metadata = _metadata(path)
            recipe = json.loads(metadata["recipe"])
            if "attack" in recipe:  # a detector learns too
                figures = json.loads(metadata.get("figures", "{}"))
                named = {name: recipe[name] for name in ("attack", "parameters", "victim")}
                found.append(Learnt(digest=path.stem, figures=figures, **named))
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: is damaged; remove it, and run the sweep again") from error
    return found


def _metadata(path: Path) -> Mapping[str, str]:
    """Read the metadata in the header of a safetensors file."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _LONGEST_HEADER:
            raise ValueError("the header is too long")
        metadata: Mapping[str, str] = json.loads(file.read(length))["__metadata__"]
    return metadata
