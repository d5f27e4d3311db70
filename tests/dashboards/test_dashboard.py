"""The explorer in headless Chromium: what needs a browser, on every page. `test_pages` has the rest."""

import io
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from eadbench.harness.analysis.transfer import entry_text
from eadbench.harness.results.folder import Results
from eadbench.harness.results.records import Failed
from tests import sweeps
from tests.dashboards.browser import CHROMIUM, PATIENCE, Visitor
from tests.dashboards.reading import summary_of

sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: uv sync --group test")

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]

STOP = """() => {
    const stop = document.activeElement
    const boxes = [stop, stop.closest("[role=group]"), stop.closest("label")].filter((box) => box)
    const frames = boxes.map((box) => getComputedStyle(box)).filter((style) => style.outlineStyle === "solid")
    const name = stop.matches(".gallery a") ? "link" : stop.getAttribute("aria-label") || stop.innerText
    return [name, frames.some((style) => parseFloat(style.outlineWidth) >= 3)]
}"""
"""Returns the name of the element that has the focus, and whether a frame shows it."""
BOXES = """() => [...document.querySelectorAll(".scroll")].map((box) => {
    const hint = getComputedStyle(box.querySelector(".sideways"))
    return [box.scrollWidth > box.clientWidth, hint.display !== "none"]
})"""
"""Returns, for each box of a table, whether it scrolls sideways, and whether it says so."""
CONTROLS = ["Results", "Look again", "Victim", "Attack", "Show", "link"]
VICTIM = {"arch": "digits", "training": {"epochs": 2, "batch_size": 32, "learning_rate": 3e-3}}
SEARCH = {"initial_const": 1, "binary_search_steps": 2, "max_iterations": 30}
STUDY = {
    "victims": [
        {**VICTIM, "evaluated_on": "all"},
        {**VICTIM, "defense": {"distillation": {"temperature": 10}}, "evaluated_on": "all"},
    ],
    "attacks": [
        {"name": "cw", "kappa": [0, 2], "learning_rate": 0.1, **SEARCH},
        {"name": "ead", "beta": [1e-3, 1e-2], "kappa": [0, 2], **SEARCH},
    ],
    "save_images": "successes",
    "shard_size": 60,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run two sweeps; add an empty folder, and a copy with damaged records."""
    root = tmp_path_factory.mktemp("explorer")
    sweeps.run(sweeps.small(**STUDY), root / "first")
    attacks = [{**attack, "max_iterations": 8} for attack in STUDY["attacks"]]
    sweeps.run(sweeps.small(**STUDY | {"attacks": attacks}), root / "second")
    (root / "empty").mkdir()
    shutil.copytree(root / "first", root / "corrupt_records")
    (root / "corrupt_records" / "failures").mkdir()
    (root / "corrupt_records" / "failures" / "77.json").write_text('{"task": 7}')
    return root


@pytest.fixture(scope="module")
def address(folders: Path) -> Iterator[str]:
    """Serve the explorer, and return its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = ("first", "second", "empty", "corrupt_records")
    command = [
        sys.executable,
        "-c",
        "from eadbench.harness.cli import main; main()",
        "dashboard",
        *names,
        f"--port={port}",
    ]
    log = folders / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            command, cwd=folders, stdout=output, stderr=output, env=os.environ | {"NO_COLOR": "1"}
        )
    try:
        started = time.monotonic()
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1):
                    break
            except OSError:
                assert server.poll() is None and time.monotonic() < started + PATIENCE / 1000, log.read_text()
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def browser() -> Iterator["sync_api.Browser"]:
    sync_api.expect.set_options(timeout=PATIENCE)
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def visitor(browser: "sync_api.Browser", address: str) -> Iterator[Visitor]:
    new = Visitor(browser, address)
    yield new
    new.context.close()
    assert new.problems == []


def test_table_is_filtered_downloaded_and_shared(visitor: Visitor, browser: "sync_api.Browser", folders: Path) -> None:
    visitor.go("", "Table")
    page = visitor.page
    everything = ["C&W"] * 2 + ["EAD (EN)"] * 4 + ["EAD (L1)"] * 4
    visitor.expect_rows(2 * everything)
    visitor.choose("Attack", "EAD")
    visitor.choose("κ", "2")
    page.get_by_text("95 % intervals").click()
    page.get_by_role("button", name="worst").click()
    sync_api.expect(page.locator("table.figures th[scope=row]")).to_have_count(3 * 8)  # attack, β and κ
    sync_api.expect(page.locator("table.figures .interval").first).to_be_visible()
    sync_api.expect(page).to_have_url(re.compile("attack=EAD"))
    sync_api.expect(page.locator("table.figures")).not_to_contain_text("worst case")
    visitor.settle("Table")

    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    lines = pd.read_csv(io.StringIO(Path(download.value.path()).read_text()))
    own = summary_of(folders / "first").own
    expected = own[(own["attack"] == "ead") & (own["kappa"] == 2)]
    columns = ["asr", "l1", "l2", "linf", "l1_lo", "linf_hi"]
    assert len(lines) == len(expected) == 24
    pd.testing.assert_frame_equal(lines[columns], expected[columns].reset_index(drop=True))
    for name, beginning in (("Markdown", "**small: digits"), ("LaTeX", "% needs")):
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        assert Path(download.value.path()).read_text().startswith(beginning)

    other = Visitor(browser, visitor.address)
    other.go(page.url.removeprefix(f"{visitor.address}/"), "Table")
    sync_api.expect(other.page.locator("table.figures")).to_have_text(page.locator("table.figures").text_content())
    other.context.close()
    assert other.problems == []


def test_curves_are_of_the_chosen_axis(visitor: Visitor) -> None:
    visitor.go("curves?dir=second&over=κ&case=best", "Curves")
    page = visitor.page
    sync_api.expect(page.get_by_role("combobox", name="Results")).to_have_value("second")
    sync_api.expect(page).to_have_title("Curves · second – eadbench")
    for figure in ("ASR, %", "L1 distortion", "L2 distortion", "L∞ distortion"):
        sync_api.expect(visitor.chart(f"{figure} over confidence κ, of C&W, EAD (EN), EAD (L1)")).to_be_visible()
    sync_api.expect(visitor.chart(re.compile("share of examples broken over L1"))).to_be_visible()
    sync_api.expect(visitor.chart(re.compile("mean L1 distortion over gradient evaluations"))).to_be_visible()
    visitor.choose("Over", "β")
    sync_api.expect(visitor.chart("ASR, % over regularisation β, of C&W, EAD (EN), EAD (L1)")).to_be_visible()
    assert "over=" not in page.url  # β is what is shown unless another is chosen


def test_transfer_has_every_pair_of_victims(visitor: Visitor, folders: Path) -> None:
    visitor.go("", "Table")
    visitor.follow("Transfer")
    summary = summary_of(folders / "first")
    lines = summary.lines[(summary.lines["case"] == "best") & (summary.lines["attack"] == "cw")]
    lines = lines[lines["kappa"] == 2]
    rates = lines.set_index(["model", "evaluated_on"])[["all_targets_asr", "all_images_asr"]].T.to_dict("list")
    first, second = (victim.digest for victim in summary.victims)
    matrix = visitor.page.get_by_role("table", name="C&W, κ = 2: ASR in percent")
    for model, name in ((first, "no defence"), (second, "distillation T = 10")):
        row = matrix.get_by_role("row").filter(has=visitor.page.get_by_role("rowheader", name=name))
        expected = [entry_text(*rates[model, tested]) for tested in (first, second)]
        sync_api.expect(row.get_by_role("cell")).to_have_text(expected)
    assert visitor.page.get_by_role("heading", name="κ = ").count() == 2


def test_an_image_leads_to_its_example(visitor: Visitor) -> None:
    visitor.go("images?setting=EAD+(EN),+β+=+1e-2,+κ+=+0", "Images")
    page = visitor.page
    assert page.locator("table.gallery td").count() >= 10
    page.locator("table.gallery a").nth(12).click()
    page.get_by_role("heading", name="Predictions of the victims").wait_for()
    visitor.settle("Images")
    sync_api.expect(page).to_have_url(re.compile("image=.*target="))
    sync_api.expect(page.get_by_role("combobox", name="Attack")).to_have_value("EAD (EN), β = 1e-2, κ = 0")
    assert page.get_by_alt_text("perturbation", exact=True).count() == 1
    visitor.expect_rows(["no defence", "distillation T = 10"])
    assert page.locator(".pictures.small figure").count() == 9
    fooled = page.locator("table.figures tbody tr").first.locator("td").all_inner_texts()
    assert float(fooled[1]) < 0 < float(fooled[3])  # the original is far from the target, what was crafted is there
    example = re.search("image=.*", page.url)
    page.locator(".pictures.small a").last.click()
    sync_api.expect(page.get_by_role("combobox", name="Attack")).to_have_value("EAD (L1), β = 1e-2, κ = 2")
    assert example is not None and page.url.endswith(example[0])  # the same image and target


def test_tab_reaches_every_control_and_frames_it(visitor: Visitor) -> None:
    visitor.go("images?dir=second", "Images")
    page = visitor.page
    page.locator("table.gallery a").first.wait_for()
    for label in ("Results", "Attack", "Show"):  # until the page is connected, its controls are disabled
        sync_api.expect(page.get_by_role("combobox", name=label)).to_be_enabled()
    page.wait_for_timeout(1000)
    stops = [""]
    while stops[-1] != CONTROLS[-1]:
        page.keyboard.press("Tab")
        name, framed = page.evaluate(STOP)
        assert framed, f"{name} after {stops}"
        stops.append(name)
    assert stops[2:11] == [
        "Table",
        "Curves",
        "Leaderboard",
        "Transfer",
        "Detectors",
        "Images",
        "Trust",
        "Sweep",
        "Compare",
    ]
    assert [name for name in stops if name in CONTROLS] == CONTROLS, stops
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Predictions of the victims").wait_for()
    assert page.locator("img:not([alt]), img[alt='']").count() == 0


def test_on_a_phone_filters_fold_and_tables_say_that_they_scroll(browser: "sync_api.Browser", address: str) -> None:
    phone = Visitor(browser, address, width=390)
    phone.go("", "Table")
    attack = phone.page.get_by_role("combobox", name="Attack")
    sync_api.expect(attack).to_be_hidden()
    phone.page.get_by_text("Filters", exact=True).click()
    sync_api.expect(attack).to_be_visible()
    boxes = phone.page.evaluate(BOXES)
    assert [True, True] in boxes and all(scrolls == says for scrolls, says in boxes), boxes
    assert phone.page.evaluate("document.documentElement.scrollWidth") == 390
    phone.page.set_viewport_size({"width": 1440, "height": 800})
    sync_api.expect(phone.page.get_by_text("Filters", exact=True)).to_be_hidden()
    sync_api.expect(attack).to_be_visible()
    assert all(scrolls == says for scrolls, says in phone.page.evaluate(BOXES))
    phone.context.close()
    assert phone.problems == []


def test_the_page_of_a_sweep_reads_again_by_itself(visitor: Visitor, folders: Path) -> None:
    visitor.go("sweep", "Sweep")
    page = visitor.page
    page.get_by_text("20 of 20").wait_for()
    page.get_by_text("Complete.").wait_for()
    failed = Failed(task="shard 123", ended="2026-01-01T00:00:00+00:00", workers=["w1", "w2"], error="a\nKaboom: 1")
    Results(folders / "first").write_failure("123", failed)
    page.get_by_text("shard 123: Kaboom: 1").wait_for()  # with nothing clicked
    Results(folders / "first").forget_failure("123")


def test_sweeps_are_compared(visitor: Visitor) -> None:
    visitor.go("compare?from=second&to=first", "Compare")
    page = visitor.page
    page.get_by_role("heading", name="first against second").wait_for()
    visitor.settle("Compare")
    sync_api.expect(page).to_have_title("Compare – eadbench")
    assert page.locator("table.figures tbody tr").count() == 40
    text = page.locator("table.figures").inner_text()
    assert "EAD (L1), β = 1e-2, κ = 0" in text
    assert "p = " in text
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    cells = pd.read_csv(Path(download.value.path()))
    assert (cells["examples"] == 27).all()
    assert cells["largest"].is_monotonic_decreasing
    assert cells["asr_change"].gt(0).any()  # more iterations break more


@pytest.mark.parametrize(
    ("name", "path", "message"),
    [
        ("empty", "", "no spec.yaml there; give the folder that `eadbench run` wrote"),
        ("corrupt_records", "sweep", "77.json: not as a sweep wrote it (task"),
    ],
)
def test_a_page_says_what_is_wrong_with_its_folder(visitor: Visitor, name: str, path: str, message: str) -> None:
    visitor.page.goto(f"{visitor.address}/{path}?dir={name}")
    visitor.page.get_by_test_id("stAlert").filter(has_text=message.replace("`", "")).wait_for()
    assert visitor.page.get_by_test_id("stException").count() == 0
