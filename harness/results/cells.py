"""`DIR/cells.json`: what each cell stands for, by its digest, for readers of the rows in another program."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eadbench.harness.plan.cells import Cell
from eadbench.harness.results.json_files import stored_json, write_text

__all__ = ["add_cells", "stored_cells"]

FILE = "cells.json"


def add_cells(root: Path, cells: Iterable[Cell]) -> None:
    """Add cells to the file of a results folder; those of earlier specs stay."""
    known = stored_cells(root)
    new = {cell.digest: asdict(cell) for cell in cells if cell.digest not in known}
    if new:
        write_text(root / FILE, json.dumps(known | new, indent=1))


def stored_cells(root: Path) -> dict[str, dict[str, Any]]:
    """Return the cells of a results folder; none before its victims are ready.

    Raises
    ------
    DamagedResults
        The file is damaged.
    """
    path = root / FILE
    cells: dict[str, dict[str, Any]] = stored_json(path, dict[str, dict[str, Any]]) if path.is_file() else {}
    return cells
