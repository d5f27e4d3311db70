"""The home folder, which a container's random user lacks and libraries ask for."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

__all__ = ["ensure_home"]


def ensure_home() -> None:
    """Set HOME to a folder of this process's own if neither it nor the list of users names a home."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = folder = tempfile.mkdtemp(prefix="eadbench-home-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
