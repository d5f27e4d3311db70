"""How long the explorer takes over many rows, in headless Chromium: from an address to its table, and from a choice to
what it changes. The rows are those that `benchmarks/aggregation.py` makes up.

    uv run --group test python -m benchmarks.explorer --folder /tmp/aggregation 1e7/10000 1e7/400

Every line is of a server just started, which has read nothing yet.
"""

import argparse
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from benchmarks.aggregation import make

_PATIENCE = 600_000


def server(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """The explorer of a folder, ready for its first visitor."""
    command = [sys.executable, "-c", "from harness.cli import main; main()", "dashboard", str(folder), f"--port={port}"]
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1):
                return started
        except OSError:
            if started.poll() is not None:
                raise
            time.sleep(0.1)


def seconds(do: Callable[[], object]) -> float:
    """How long something takes."""
    started = time.perf_counter()
    do()
    return time.perf_counter() - started


def visit(page: Page, address: str) -> Iterator[tuple[str, float]]:
    """Look at one page after another; yields what was waited for, and the seconds."""
    rows = page.locator("table.figures tbody tr")
    charts = page.get_by_test_id("stVegaLiteChart")

    def first() -> None:
        page.goto(address)
        rows.first.wait_for()

    def chosen(label: str, option: str) -> None:
        page.get_by_role("combobox", name=label).click()
        page.get_by_role("option", name=option, exact=True).click()
        page.keyboard.press("Escape")

    def filtered(label: str, option: str, left: int) -> Callable[[], None]:
        def do() -> None:
            chosen(label, option)
            expect(rows).to_have_count(left)

        return do

    yield "first table", seconds(first)
    every = rows.count()
    yield "filter: one attack", seconds(filtered("Attack", "C&W", 3 + 3 * 4))
    yield "filter: one κ beside it", seconds(filtered("κ", "40", 3 + 3))
    yield (
        "intervals of these lines",
        seconds(lambda: (page.get_by_text("95 % intervals").click(), page.locator(".interval").first.wait_for())),
    )
    yield "table, a second visitor", seconds(lambda: (first(), expect(rows).to_have_count(every)))
    yield "curves, first", seconds(lambda: (page.goto(f"{address}/curves"), expect(charts).to_have_count(6)))
    yield (
        "curves over κ",
        seconds(
            lambda: (chosen("Over", "κ"), page.get_by_label(re.compile("^ASR, % over confidence κ")).first.wait_for())
        ),
    )
    yield (
        "sweep, first",
        seconds(
            lambda: (
                page.goto(f"{address}/sweep"),
                page.get_by_test_id("stProgress").or_(page.get_by_test_id("stAlert")).first.wait_for(),
            )
        ),
    )


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Page, str, int]]:
    """A browser's page, the explorer's address, and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served = server(folder, port)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page()
            page.set_default_timeout(_PATIENCE)
            expect.set_options(timeout=_PATIENCE)
            yield page, f"http://127.0.0.1:{port}", served.pid
            browser.close()
    finally:
        served.terminate()
        served.wait()


def peak(process: int) -> float:
    """The peak of a process's memory, in GiB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**20


def main() -> None:
    """Measure the folders that are asked for, and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("sizes", nargs="*", default=["1e7/10000", "1e7/400"], metavar="ROWS/ROWS_PER_PART")
    arguments.add_argument("--folder", type=Path, default=Path("results/aggregation"))
    given = arguments.parse_args()
    for size in given.sizes:
        rows, per_part = (int(float(number)) for number in size.split("/"))
        folder = given.folder / f"{rows}-{per_part}"
        if not (folder / "spec.yaml").exists():
            make(folder, rows, per_part)
        print(f"\n{rows:,} rows in parts of {per_part:,}\n\n| | seconds |\n| --- | ---: |", flush=True)
        with opened(folder) as (page, address, process):
            for what, took in visit(page, address):
                print(f"| {what} | {took:.1f} |", flush=True)
            print(f"| the server's peak of memory, GiB | {peak(process):.2f} |", flush=True)


if __name__ == "__main__":
    main()
