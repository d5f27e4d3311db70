"""Files that a stranger's spec names: with `--no-code`, only those that the user would expect it to read.

They are below the working folder, or below a folder of the option `--allow-files`. No URI is opened. Links are followed
first, so that none leads elsewhere.
"""

import os
from pathlib import Path

from eadbench.harness.errors import UserError
from eadbench.harness.messages import shown
from eadbench.models.code import NO_CODE

__all__ = ["FILES", "of_stranger", "refuse_elsewhere"]

FILES = "EADBENCH_FILES"
"""The environment variable with the folders of `--allow-files`, separated as in PATH."""


def of_stranger() -> bool:
    """Return whether specs are not trusted."""
    return bool(os.environ.get(NO_CODE))


def refuse_elsewhere(place: str | Path, where: str = "") -> None:
    """Refuse a place that a stranger's spec names, if it is not below an allowed folder or is no file and no folder.

    Parameters
    ----------
    where
        Field of the spec, for messages.

    Raises
    ------
    UserError
        `--no-code` is given, and the place is a URI, lies elsewhere, or is a device or a pipe.
    """
    if not of_stranger():
        return
    start = f"{where}: " if where else ""
    if "://" in str(place) or "::" in str(place):
        raise UserError(f"{start}{shown(str(place))} is a URI, which --no-code refuses; give a file of this machine")
    allowed = [Path.cwd(), *(Path(folder) for folder in os.environ.get(FILES, "").split(os.pathsep) if folder)]
    try:
        path = Path(place).expanduser().resolve()
        known = any(path.is_relative_to(folder.resolve()) for folder in allowed)
        special = path.exists() and not (path.is_file() or path.is_dir())
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{start}{shown(str(place))} cannot be read: {error}") from error
    if not known:
        raise UserError(
            f"{start}{shown(str(place))} is not below the working folder, and --no-code is given; "
            f"--allow-files {path if path.is_dir() else path.parent} allows it"
        )
    if special:
        raise UserError(f"{start}{shown(str(place))} must be a file or a folder, not a device or a pipe")
