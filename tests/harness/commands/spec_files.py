"""A small spec in the working folder, and what a sweep of it leaves."""

from pathlib import Path
from typing import Any

import yaml

from tests.sweeps import SMALL

QUICK: dict[str, Any] = {"attacks": [{"name": "fgm", "norm": "l2", "epsilons": [1]}]}
"""Changes of the small sweep that leave a shard or two."""


def spec_file(**changes: Any) -> Path:
    path = Path("spec.yaml")
    path.write_text(yaml.safe_dump(yaml.safe_load(SMALL) | QUICK | changes))
    return path


def content(folder: Path) -> dict[str, bytes]:
    """What is committed in a results folder."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
