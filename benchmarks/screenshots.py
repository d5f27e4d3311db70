"""Take pictures of the explorer's pages with headless Chromium: light and dark, as wide as a desktop and as a phone.

    uv run --group test python -m benchmarks.screenshots --out /tmp/pictures results/mnist results/digits

The files are PAGE-THEME-WIDTH.png, whole pages in 256 colours. docs/images has some of them.
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
PAGES = ("table", "curves", "leaderboard", "transfer", "images", "example", "trust", "sweep", "compare")
"""The pages as addresses name them; `example` is a view of the page Images."""

_HEIGHT = 800
_MAX_HEIGHT = 6000
_PATIENCE = 600_000


def pictures(browser: Browser, address: str, pages: Sequence[str], query: str) -> Iterator[tuple[str, bytes]]:
    """Yield a name and a PNG of every page, in every theme and width."""
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
    """Wait until a page is complete: its script has ended, and every chart is drawn."""
    page.get_by_role("heading", level=1).wait_for()
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(700)  # charts are drawn, and their legends placed, in animation frames


def _path(page: str) -> str:
    return f"images?{urlencode({'view': 'one example'})}&" if page == "example" else f"{page}?"


def _full_height(page: Page) -> int:
    """Return the height of window that shows the page without scrolling."""
    height: int = page.get_by_test_id("stMain").evaluate("main => main.scrollHeight")
    return min(max(height, _HEIGHT), _MAX_HEIGHT)


def small(png: bytes) -> bytes:
    """Return a picture in 256 colours, which takes a third of the bytes."""
    content = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        content, "png", optimize=True
    )
    return content.getvalue()


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="DIR", help="Results; two or more for the page Compare.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pages", nargs="*", default=PAGES, choices=PAGES)
    parser.add_argument("--query", default="", help="Choices to add to every address, such as attack=EAD&kappa=0.")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with opened(arguments.folders) as (browser, address, _):
        for name, png in pictures(browser, address, arguments.pages, arguments.query):
            (arguments.out / f"{name}.png").write_bytes(small(png))
            print(arguments.out / f"{name}.png", flush=True)


if __name__ == "__main__":
    main()
