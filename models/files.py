"""Atomic writes: a file exists complete or not at all."""

import os
import uuid
from pathlib import Path

__all__ = ["replace_file"]


def replace_file(path: Path, content: bytes) -> None:
    """Replace the file at `path` by `content` in one step, making its folder.

    On this machine, write a temporary file in the same folder and rename it. In an object store, put one object, which
    is atomic there.
    """
    if not isinstance(path, os.PathLike):
        path.write_bytes(content)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # or a machine that dies could leave the name without the bytes
        os.replace(temporary, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # "no space left" comes without a path
        raise
    finally:
        temporary.unlink(missing_ok=True)
