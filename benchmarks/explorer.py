"""How long the explorer takes over many rows, in headless Chromium: from an address to its table, and from a choice to
what it changes. The rows are those that `benchmarks/aggregation.py` makes up.

    uv run --group test python -m benchmarks.explorer --folder /tmp/aggregation 1e7/10000 1e7/400

Every table is of a server just started, which has read nothing yet.
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

from benchmarks.aggregation import make, victims
from eadbench.harness.results.folder import Results
from eadbench.models import Recipe, Training

_PATIENCE = 600_000


@contextmanager
def opened(folders: Sequence[Path]) -> Iterator[tuple[Browser, str, int]]:
    """A browser, the address of an explorer of these folders, and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served = _server(folders, port)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            yield browser, f"http://127.0.0.1:{port}", served.pid
            browser.close()
    finally:
        served.terminate()
        served.wait()


def _server(folders: Sequence[Path], port: int) -> subprocess.Popen[bytes]:
    """The explorer, ready for its first visitor."""
    start = [sys.executable, "-c", "from eadbench.harness.cli import main; main()", "dashboard", f"--port={port}"]
    started = subprocess.Popen([*start, *map(str, folders)], stdout=subprocess.DEVNULL)
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1):
                return started
        except OSError:
            if started.poll() is not None:
                raise
            time.sleep(0.1)


class Visit:
    """A visitor of the explorer at `address`, whose waiting is timed."""

    def __init__(self, page: Page, address: str) -> None:
        self._page, self._address = page, address
        self._rows = page.locator("table.figures tbody tr")

    def steps(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """What is done one after another, with its name."""
        yield "first table", self._table
        yield "filter: one attack", lambda: self._filter("Attack", "C&W", lines=3 * 4)
        yield "filter: one κ beside it", lambda: self._filter("κ", "40", lines=3)
        yield "intervals of these lines", self._intervals
        yield "table, a second visitor", self._table
        yield "curves, first", lambda: self._open("curves", self._page.get_by_test_id("stVegaLiteChart").nth(5))
        yield "curves over κ", self._over_kappa
        yield "sweep, first", lambda: self._open("sweep", self._page.get_by_test_id("stProgress"))

    def _open(self, page: str, shows: Locator) -> None:
        self._page.goto(f"{self._address}/{page}")
        shows.wait_for()

    def _table(self) -> None:
        self._page.goto(self._address)
        self._page.locator("table.figures").wait_for()

    def _choose(self, label: str, option: str) -> None:
        self._page.get_by_role("combobox", name=label).click()
        self._page.get_by_role("option", name=option, exact=True).click()
        self._page.keyboard.press("Escape")

    def _filter(self, label: str, option: str, *, lines: int) -> None:
        """Choose, and wait until so many lines are left, below the names of three victims."""
        self._choose(label, option)
        expect(self._rows).to_have_count(3 + lines)

    def _intervals(self) -> None:
        self._page.get_by_text("95 % intervals").click()
        self._page.locator(".interval").first.wait_for()

    def _over_kappa(self) -> None:
        self._choose("Over", "κ")
        self._page.get_by_label(re.compile("^ASR, % over confidence κ")).first.wait_for()


def peak(process: int) -> float:
    """The peak of a process's memory, in GiB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**20


def prepare(folder: Path, rows: int, per_part: int) -> None:
    """Make the rows unless they are there, and what the page Sweep reads beside them: a victim's recipe."""
    if not (folder / "spec.yaml").exists():
        make(folder, rows, per_part)
    recipe = Recipe(
        arch="digits",
        parameters={},
        num_classes=10,
        trained_on="digits",
        defense={"name": "none"},
        training=Training(epochs=1),
    )
    described = Results(folder).model(victims(1)[0].digest) / "recipe.json"
    described.parent.mkdir(parents=True, exist_ok=True)
    described.write_text(json.dumps({"recipe": recipe.to_json(), "facts": {}}))


def main() -> None:
    """Measure the folders that are asked for, and print their tables."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("sizes", nargs="*", default=["1e7/10000", "1e7/400"], metavar="ROWS/ROWS_PER_PART")
    arguments.add_argument("--folder", type=Path, default=Path("results/aggregation"))
    given = arguments.parse_args()
    expect.set_options(timeout=_PATIENCE)
    for size in given.sizes:
        rows, per_part = (int(float(number)) for number in size.split("/"))
        folder = given.folder / f"{rows}-{per_part}"
        prepare(folder, rows, per_part)
        print(f"\n{rows:,} rows in parts of {per_part:,}\n\n| | seconds |\n| --- | ---: |", flush=True)
        with opened([folder]) as (browser, address, process):
            page = browser.new_page()
            page.set_default_timeout(_PATIENCE)
            for what, do in Visit(page, address).steps():
                started = time.perf_counter()
                do()
                print(f"| {what} | {time.perf_counter() - started:.1f} |", flush=True)
            print(f"| the server's peak of memory, GiB | {peak(process):.2f} |", flush=True)


if __name__ == "__main__":
    main()
