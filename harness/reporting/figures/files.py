"""Figures as files: SVG and PNG, the same bytes for the same figure."""

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from eadbench.models import replace_file

__all__ = ["save", "slug"]

# A fixed salt and no date make the bytes depend on the figure alone; images keep their own pixels.
_SETTINGS: Any = {"svg.hashsalt": "eadbench", "image.composite_image": False}
_FORMATS: Mapping[str, Any] = {"svg": {"Date": None}, "png": {}}
_DOTS_PER_INCH = 200


def save(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write each figure as `NAME.svg` and `NAME.png` into `folder`, which is made if it is not there.

    Returns
    -------
    The files, in the order of the figures.
    """
    written = []
    for name, figure in figures.items():
        for suffix, metadata in _FORMATS.items():
            content = io.BytesIO()
            with mpl.rc_context(_SETTINGS):
                figure.savefig(content, format=suffix, dpi=_DOTS_PER_INCH, metadata=metadata)
            written.append(folder / f"{name}.{suffix}")
            replace_file(written[-1], content.getvalue())
    return written


def slug(text: str) -> str:
    """A text as part of a file's name: lower-case ASCII letters, digits, '.', '_' and '-'."""
    spelt = text.lower().replace("κ", "kappa").replace("β", "beta")
    return re.sub(r"[^a-z0-9.-]+", "_", spelt).strip("_")
