"""HTML from the Jinja2 templates of the explorer and of the report.

Every value is escaped. Only :func:`render` returns HTML as :class:`~markupsafe.Markup`, and a template puts that as it
is. The one other Markup is the SVG of our own curves, in :mod:`eadbench.dashboards.page.curves`.
"""

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

__all__ = ["as_text", "render"]

_HERE = Path(__file__).parent
_CONTROL = re.compile("\x1b\\[[0-9;]*m|[\x00-\x08\x0b-\x1f\x7f-\x9f]|[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""A terminal's colours, characters that HTML does not allow, and those that reorder the others of a line."""
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")


def render(template: str, **values: object) -> Markup:
    """Return the HTML of a template."""
    return Markup(_ENVIRONMENT.get_template(template).render(values).strip())


def as_text(text: str) -> str:
    """Return Markdown that Streamlit shows as this very text: no image, link or formula in it takes effect."""
    return _PUNCTUATION.sub(r"\\\g<0>", _CONTROL.sub("", text))


def _printable(value: object) -> object:
    """Return a value's text without control characters; HTML stays as it is."""
    return value if isinstance(value, Markup) else _CONTROL.sub("", str(value))


_ENVIRONMENT = Environment(
    loader=FileSystemLoader([_HERE / "templates", _HERE / "page" / "templates"]),
    autoescape=True,
    finalize=_printable,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
