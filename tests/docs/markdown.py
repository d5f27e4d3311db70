"""The pages of the docs, and what stands in them: code blocks, inline code, links and headings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
NOTEBOOKS = sorted(ROOT.glob("docs/**/*.ipynb"))

_FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"\]\(([^)\s#]*)(#[^)\s]+)?\)")


@dataclass(frozen=True)
class Block:
    """A fenced code block. ``needs: …`` after its language says what it needs that a test does not have."""

    page: Path
    line: int
    language: str
    needs: str
    text: str

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *languages: str) -> list[Block]:
    """The code blocks of a page in some languages; "" is the language of those that name none."""
    text = page.read_text()
    found = []
    for fence in _FENCE.finditer(text):
        language, _, needs = fence[1].partition(" needs: ")
        line = text.count("\n", 0, fence.start()) + 1
        found.append(Block(page, line, language.strip(), needs, fence[2]))
    return [block for block in found if block.language in languages]


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return _FENCE.sub("", page.read_text())


def inline_code(page: Path) -> list[str]:
    return _INLINE.findall(prose(page))


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """The file and the anchor of every link to this repository; an anchor may be empty."""
    for target, anchor in _LINK.findall(_INLINE.sub("", prose(page))):
        if "://" not in target:
            yield (page.parent / target if target else page), anchor.removeprefix("#")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
