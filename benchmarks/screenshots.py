"""Pictures of the explorer's pages, by headless Chromium: light and dark, at a desk's width and at a phone's.

    uv run --group test python -m benchmarks.screenshots --out /tmp/pictures results/mnist results/digits

They are called PAGE-THEME-WIDTH.png, whole pages in 256 colours; those in docs/images are of these.
"""

import argparse
import io
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import Browser, Page

from benchmarks.explorer import opened

THEMES = ("light", "dark")
WIDTHS = (1440, 390)
PAGES = ("table", "curves", "transfer", "images", "example", "sweep", "compare")
"""As they are called in an address; `example` is a view of the images."""

_HEIGHT = 800
_TALLEST = 6000
_PATIENCE = 600_000


def pictures(browser: Browser, address: str, pages: Sequence[str], query: str) -> Iterator[tuple[str, bytes]]:
    """Every page in every theme and width: a name, and a PNG."""
    for theme, width in product(THEMES, WIDTHS):
        page = browser.new_page(color_scheme=theme)
        page.set_default_timeout(_PATIENCE)
        for name in pages:
            page.set_viewport_size({"width": width, "height": _HEIGHT})
            page.goto(f"{address}/{_path(name)}{query}")
            settle(page)
            while (height := _full_height(page)) > page.viewport_size["height"]:
                page.set_viewport_size({"width": width, "height": height})
                settle(page)
            yield f"{name}-{theme}-{width}", page.screenshot()
        page.close()


def settle(page: Page) -> None:
    """Wait until a page is whole: its script has ended, and nothing of it is drawn any more."""
    page.get_by_role("heading", level=1).wait_for()
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(700)  # charts are drawn, and their legends placed, in animation frames


def _path(page: str) -> str:
    return f"images?{urlencode({'view': 'one example'})}&" if page == "example" else f"{page}?"


def _full_height(page: Page) -> int:
    """What shows a page without scrolling, which Streamlit does within the window."""
    height: int = page.get_by_test_id("stMain").evaluate("main => main.scrollHeight")
    return min(max(height, _HEIGHT), _TALLEST)


def small(png: bytes) -> bytes:
    """The same picture in 256 colours, which is a third of the size."""
    content = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        content, "png", optimize=True
    )
    return content.getvalue()


def main() -> None:
    """Take the pictures."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folders", nargs="+", metavar="DIR", help="Results; two or more for the page Compare.")
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--pages", nargs="*", default=PAGES, choices=PAGES)
    arguments.add_argument("--query", default="", help="What else is in the addresses, such as attack=EAD&kappa=0.")
    given = arguments.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with opened(given.folders) as (browser, address, _):
        for name, png in pictures(browser, address, given.pages, given.query):
            (given.out / f"{name}.png").write_bytes(small(png))
            print(given.out / f"{name}.png", flush=True)


if __name__ == "__main__":
    main()
