"""Ask the command that works in a results folder to stop."""

import json
from dataclasses import asdict
from pathlib import Path

from eadbench.harness.errors import UserError
from eadbench.harness.results.owner import CANCEL, OwnerRecord, working_in
from eadbench.models import replace_file

__all__ = ["ask_to_stop"]


def ask_to_stop(root: Path) -> OwnerRecord:
    """Ask the command that works in a folder to stop after its running tasks. Return who it is.

    Raises
    ------
    UserError
        No command works in the folder, as far as can be seen.
    """
    owner = working_in(root)
    if owner is None:
        raise UserError(f"{root}: no command works in this folder, so there is nothing to cancel")
    replace_file(root / CANCEL, json.dumps(asdict(owner)).encode())
    return owner
