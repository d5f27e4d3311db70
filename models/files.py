"""Files that are there whole or not at all."""

import os
import uuid
from pathlib import Path

__all__ = ["replace_file"]


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` under a temporary name in the same folder, and rename it to `path`; makes the folder.

    A path of an object store, which has pathlib's interface and is no path of this machine, is put in one piece:
    such a store shows an object whole or not at all.
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
            os.fsync(file.fileno())  # a machine that is taken away must not leave a name without its bytes
        os.replace(temporary, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # that of a write that found no room says nothing of where
        raise
    finally:
        temporary.unlink(missing_ok=True)
