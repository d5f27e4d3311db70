"""Sections of the report, and how many bytes they take."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from markupsafe import Markup

__all__ = ["Section", "fitting", "size"]

_Name = TypeVar("_Name")


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page that the table of contents leads to, and that folds; `folded` at first."""

    anchor: str
    title: str
    body: Markup
    folded: bool = False


def fitting(pieces: Iterable[tuple[_Name, Markup]], room: int) -> Iterator[tuple[_Name, Markup]]:
    """Yield named pieces of HTML as long as they fit into `room` bytes together."""
    for name, html in pieces:
        room -= size(html)
        if room < 0:
            return
        yield name, html


def size(html: str) -> int:
    """Return the bytes that HTML takes in the file."""
    return len(html.encode(errors="replace"))
