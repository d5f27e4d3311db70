"""Keep other libraries from unpickling more than tensors: a pickle can run any code when it is loaded."""

import contextlib
import os
from collections.abc import Iterator

__all__ = ["tensors_only"]

_FORCE, _FORCE_NOT = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


@contextlib.contextmanager
def tensors_only() -> Iterator[None]:
    """Make every `torch.load` read tensors and plain containers only, whatever its caller asks for."""
    before = {name: os.environ.pop(name, None) for name in (_FORCE, _FORCE_NOT)}
    os.environ[_FORCE] = "1"
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
