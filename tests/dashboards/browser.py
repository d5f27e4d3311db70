"""A visitor of the explorer in headless Chromium."""

import re
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the tests that need no browser run without Playwright
    from playwright.sync_api import Browser, Locator

__all__ = ["CHROMIUM", "PATIENCE", "Visitor"]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 240_000
"""Milliseconds; a page takes one or two seconds on an idle machine, and half a minute on a very busy one."""


class Visitor:
    """A new visitor of the explorer, who notes errors in the browser and requests to other hosts."""

    def __init__(self, browser: "Browser", address: str, *, width: int = 1280) -> None:
        self.address = address
        self.context = browser.new_context(accept_downloads=True, viewport={"width": width, "height": 800})
        self.context.set_default_timeout(PATIENCE)
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.page.on("console", lambda message: message.type == "error" and self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self._is_local(request.url) or self.problems.append(request.url))

    def _is_local(self, url: str) -> bool:
        return url.startswith((self.address, self.address.replace("http", "ws"), "data:", "blob:"))

    def go(self, path: str, heading: str) -> None:
        """Open an address, and wait for its page."""
        self.page.goto(f"{self.address}/{path}")
        self.settle(heading)

    def follow(self, name: str) -> None:
        """Go to another page by its link."""
        self.page.get_by_test_id("stSidebarNav").get_by_role("link", name=name).click()
        self.settle(name)

    def settle(self, heading: str) -> None:
        self.page.get_by_role("heading", name=heading, level=1).wait_for()
        self.page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
        assert self.page.get_by_test_id("stException").count() == 0, self.page.get_by_test_id(
            "stException"
        ).inner_text()

    def choose(self, label: str, option: str) -> None:
        self.page.get_by_role("combobox", name=label).click()
        self.page.get_by_role("option", name=option, exact=True).click()
        self.page.keyboard.press("Escape")

    def chart(self, label: str | re.Pattern[str]) -> "Locator":
        """Return the charts with that text for screen readers."""
        return self.page.get_by_test_id("stVegaLiteChart").and_(self.page.get_by_label(label))

    def expect_rows(self, names: list[str]) -> None:
        """Wait until the table has rows with these headings."""
        from playwright.sync_api import expect

        heads = self.page.locator("table.figures th[scope=row]:first-child")
        expect(heads).to_have_text(names)
