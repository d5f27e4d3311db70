"""Files of figures: SVG and PNG, with the same bytes for the same figure."""

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from eadbench.models import replace_file

__all__ = ["save", "slug"]

# With a fixed salt and no date, the bytes depend on the figure alone. Images are not merged into one.
_SETTINGS: Any = {"svg.hashsalt": "eadbench", "image.composite_image": False}
_FORMATS: Mapping[str, Any] = {"svg": {"Date": None}, "png": {}}
_DOTS_PER_INCH = 200
_MAX_LENGTH = 64


def save(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write each figure as `NAME.svg` and `NAME.png` into `folder`; create the folder if necessary.

    Returns
    -------
    The files, in the order of the figures.
    """
    files = []
    for name, figure in figures.items():
        for suffix, metadata in _FORMATS.items():
            content = io.BytesIO()
            with mpl.rc_context(_SETTINGS):
                figure.savefig(content, format=suffix, dpi=_DOTS_PER_INCH, metadata=metadata)
            files.append(folder / f"{name}.{suffix}")
            replace_file(files[-1], content.getvalue())
    return files


def slug(text: str) -> str:
    """Return a text as part of a file's name: at most 64 lower-case ASCII letters, digits, '.', '_' and '-'."""
    spelled = text.lower().replace("κ", "kappa").replace("β", "beta")
    return re.sub(r"[^a-z0-9.-]+", "_", spelled).strip("_")[:_MAX_LENGTH]
