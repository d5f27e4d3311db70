"""How the tests of pages read results and HTML."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd

from eadbench.harness.analysis import summary as summaries
from eadbench.harness.analysis.aggregate import FIGURES
from eadbench.harness.analysis.summary import Summary
from eadbench.harness.numbers import NO_VALUE, figure_text, rate_text
from eadbench.harness.results.folder import Results
from eadbench.harness.results.snapshot import Snapshot

__all__ = ["Parsed", "figure_texts", "summary_of"]

_VOID = ("meta", "img", "br")


def summary_of(folder: Path) -> Summary:
    """Return the summary of a results folder, with its intervals."""
    return summaries.read(Snapshot(Results(folder)))


def figure_texts(line: pd.Series, paper: dict[str, float], prefix: str = "") -> list[str]:
    """Return the texts of a line's figures: the figure, the paper's, and the interval."""
    texts = []
    for name in FIGURES:
        as_text = rate_text if name == "asr" else figure_text
        value, low, high = (line[f"{prefix}{name}{end}"] for end in ("", "_lo", "_hi"))
        beside = f" ({NO_VALUE if np.isnan(paper[name]) else as_text(paper[name])})" if paper else ""
        texts.append(f"{as_text(value)}{beside}" + ("" if np.isnan(low) else f"[{as_text(low)}, {as_text(high)}]"))
    return texts


class Parsed(HTMLParser):
    """The elements of HTML, its text, and the texts of its tables.

    Parameters
    ----------
    text
        HTML whose elements are closed in the order in which they were opened; anything else fails.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.styles = ""
        self.title = ""
        self.tables: dict[str, list[list[str]]] = {}
        """The texts of the cells of each row, by the label of the box that the table stands in."""
        self._open: list[str] = []
        self._rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append((tag, attributes))
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "div" and attributes.get("role") == "region":
            self._rows = self.tables.setdefault(attributes["aria-label"], [])
        if tag == "tr":
            self._rows.append([])
        if tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.styles += data
            return
        if self._open and self._open[-1] == "title":
            self.title += data
        self.text += data
        if {"td", "th"} & set(self._open):
            self._rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str]]:
        """Return the attributes of the elements of that name."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def sections(self) -> list[str]:
        """The anchors that the table of contents leads to."""
        return [element["href"][1:] for element in self.all("a") if element.get("href", "").startswith("#")][1:]
