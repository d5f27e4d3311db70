"""The page's HTML: its frame, and what sections are made of. Texts are escaped here."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TypeVar

__all__ = [
    *("Section", "document", "facts", "paragraph", "plain", "preformatted"),
    *("scrolling", "size", "table", "within"),
]

_Name = TypeVar("_Name")

_STYLES = (Path(__file__).parents[1] / "style.css", Path(__file__).with_name("report.css"))
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""No script, and nothing from anywhere: what the browser is to refuse, whatever a page holds."""
_UNSEEN = re.compile("\x1b\\[[0-9;]*m|[\x00-\x08\x0b-\x1f\x7f]")
"""A terminal's colours, and characters that HTML does not know."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page, which the contents lead to."""

    anchor: str
    title: str
    body: str
    """HTML."""


def document(name: str, lead: str, sections: Sequence[Section]) -> str:
    """The page, from its doctype on."""
    links = "".join(f'<li><a href="#{section.anchor}">{plain(section.title)}</a></li>' for section in sections)
    bodies = "".join(
        f'<section id="{section.anchor}" aria-labelledby="{section.anchor}-title">'
        f'<h2 id="{section.anchor}-title">{plain(section.title)}</h2>{section.body}</section>\n'
        for section in sections
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{plain(name)} – eadbench</title>\n"
        f"<style>\n{''.join(path.read_text(encoding='utf-8') for path in _STYLES)}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#content">Skip to the results</a>\n'
        f'<nav aria-label="Contents"><ul>{links}</ul></nav>\n'
        f'<main id="content" tabindex="-1">\n{lead}\n{bodies}</main>\n</body>\n</html>\n'
    )


def plain(text: object) -> str:
    """A text as HTML."""
    return escape(_UNSEEN.sub("", str(text)))


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of a text, such as a ``note``."""
    return f'<p class="{kind}">{plain(text)}</p>' if kind else f"<p>{plain(text)}</p>"


def scrolling(body: str, said: str) -> str:
    """A box that scrolls by itself where its content is too wide, by keys too, and is called so."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{plain(said)}">{body}</div>'


def preformatted(text: str, said: str) -> str:
    """A text as it stands, in a box that scrolls."""
    return scrolling(f"<pre><code>{plain(text)}</code></pre>", said)


def facts(of: Mapping[str, str]) -> str:
    """Names and what they are."""
    each = (f"<div><dt>{plain(name)}</dt><dd>{plain(text)}</dd></div>" for name, text in of.items())
    return f"<dl>{''.join(each)}</dl>"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], said: str, *, numbers: Collection[str] = ()) -> str:
    """A table of texts; the first of each row names it, and columns of `numbers` stand to the right."""
    kinds = ["" if head in numbers else ' class="label"' for head in heads]
    head = "".join(f'<th scope="col"{kind}>{plain(text)}</th>' for text, kind in zip(heads, kinds, strict=True))
    lines = []
    for first, *rest in rows:
        cells = (f"<td{kind}>{plain(text)}</td>" for text, kind in zip(rest, kinds[1:], strict=True))
        lines.append(f'<tr><th scope="row" class="label">{plain(first)}</th>{"".join(cells)}</tr>')
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return scrolling(f'<table class="figures">{body}</table>', said)


def within(pieces: Iterable[tuple[_Name, str]], room: int) -> Iterator[tuple[_Name, str]]:
    """Yield pieces of HTML, each with what it is of, as long as they fit into so many bytes."""
    for name, html in pieces:
        room -= size(html)
        if room < 0:
            return
        yield name, html


def size(html: str) -> int:
    """Bytes of the file."""
    return len(html.encode(errors="replace"))
