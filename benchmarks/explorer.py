"""Measure how fast the explorer answers over many rows, in headless Chromium.

    uv run --group test python -m benchmarks.explorer --folder /tmp/aggregation 1e7/10000 1e7/400

`benchmarks/aggregation.py` generates the rows. The times run from an address to its table, and from a choice to its
effect. Each size has a new server, which has read nothing yet.
"""

import argparse
import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from benchmarks.aggregation import generate, victims
from eadbench.harness.results.folder import Results
from eadbench.models import Recipe, Training

_PATIENCE = 600_000


@contextmanager
def opened(folders: Sequence[Path]) -> Iterator[tuple[Browser, str, int]]:
    """Start an explorer of these folders and a browser; yield the browser, the explorer's address, and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = _server(folders, port)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            yield browser, f"http://127.0.0.1:{port}", server.pid
            browser.close()
    finally:
        server.terminate()
        server.wait()


def _server(folders: Sequence[Path], port: int) -> subprocess.Popen[bytes]:
    """Start the explorer, and return when it answers."""
    command = [sys.executable, "-c", "from eadbench.harness.cli import main; main()", "dashboard", f"--port={port}"]
    server = subprocess.Popen([*command, *map(str, folders)], stdout=subprocess.DEVNULL)
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1):
                return server
        except OSError:
            if server.poll() is not None:
                raise
            time.sleep(0.1)


class Visit:
    """A visitor of the explorer at `address`."""

    def __init__(self, page: Page, address: str) -> None:
        self._page, self._address = page, address
        self._rows = page.locator("table.figures tbody tr")

    def steps(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Yield the steps to time, in order: a name, and the function that takes the step and waits for its effect."""
        yield "first table", self._table
        yield "filter: one attack", lambda: self._filter("Attack", "C&W", lines=3 * 4)
        yield "filter: one κ beside it", lambda: self._filter("κ", "40", lines=3)
        yield "intervals of these lines", self._intervals
        yield "table, a second visitor", self._table
        yield "curves, first", lambda: self._open("curves", self._page.get_by_test_id("stVegaLiteChart").nth(5))
        yield "curves over κ", self._over_kappa
        yield "sweep, first", lambda: self._open("sweep", self._page.get_by_test_id("stProgress"))

    def _open(self, page: str, element: Locator) -> None:
        self._page.goto(f"{self._address}/{page}")
        element.wait_for()

    def _table(self) -> None:
        self._page.goto(self._address)
        self._page.locator("table.figures").wait_for()

    def _choose(self, label: str, option: str) -> None:
        self._page.get_by_role("combobox", name=label).click()
        self._page.get_by_role("option", name=option, exact=True).click()
        self._page.keyboard.press("Escape")

    def _filter(self, label: str, option: str, *, lines: int) -> None:
        """Choose an option, and wait until that many lines are left below the names of the three victims."""
        self._choose(label, option)
        expect(self._rows).to_have_count(3 + lines)

    def _intervals(self) -> None:
        self._page.get_by_text("95 % intervals").click()
        self._page.locator(".interval").first.wait_for()

    def _over_kappa(self) -> None:
        self._choose("Over", "κ")
        self._page.get_by_label(re.compile("^ASR, % over confidence κ")).first.wait_for()


def peak(process: int) -> float:
    """Return the peak of a process's memory, in GiB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**20


def prepare(folder: Path, rows: int, per_part: int) -> None:
    """Generate the rows unless they exist, and a victim's recipe, which the page Sweep reads."""
    if not (folder / "spec.yaml").exists():
        generate(folder, rows, per_part)
    recipe = Recipe(
        arch="digits",
        parameters={},
        num_classes=10,
        trained_on="digits",
        defense={"name": "none"},
        training=Training(epochs=1),
    )
    path = Results(folder).model(victims(1)[0].digest) / "recipe.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"recipe": recipe.to_json(), "facts": {}}))


def main() -> None:
    """Measure folders of the given sizes, and print a table for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", default=["1e7/10000", "1e7/400"], metavar="ROWS/ROWS_PER_PART")
    parser.add_argument("--folder", type=Path, default=Path("results/aggregation"))
    arguments = parser.parse_args()
    expect.set_options(timeout=_PATIENCE)
    for size in arguments.sizes:
        rows, per_part = (int(float(number)) for number in size.split("/"))
        folder = arguments.folder / f"{rows}-{per_part}"
        prepare(folder, rows, per_part)
        print(f"\n{rows:,} rows in parts of {per_part:,}\n\n| | seconds |\n| --- | ---: |", flush=True)
        with opened([folder]) as (browser, address, process):
            page = browser.new_page()
            page.set_default_timeout(_PATIENCE)
            for name, step in Visit(page, address).steps():
                started = time.perf_counter()
                step()
                print(f"| {name} | {time.perf_counter() - started:.1f} |", flush=True)
            print(f"| the server's peak of memory, GiB | {peak(process):.2f} |", flush=True)


if __name__ == "__main__":
    main()
