"""The report as one HTML file: what it says, that it is whole, and that a browser shows it without a network."""

import base64
import io
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from eadbench.dashboards import page
from eadbench.dashboards.page import writing
from eadbench.harness import datasets
from eadbench.harness.analysis.aggregate import FIGURES
from eadbench.harness.labels import NO_VALUE, figure_text, rate_text
from eadbench.harness.paper import comparison
from eadbench.harness.reporting import report
from eadbench.harness.results.folder import Results
from eadbench.harness.results.records import Failed
from tests import sweeps

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

TRAINING = {"epochs": 2, "batch_size": 32, "learning_rate": 3e-3}
VICTIM = {"arch": "digits", "training": TRAINING}
SEARCH = {"initial_const": 1, "binary_search_steps": 2, "max_iterations": 15}
STUDY = {
    "name": "study",
    "dataset": {"name": "tests.harness.commands.test_cli:as_mnist"},
    "images": {"count": 4},
    "victims": [
        {**VICTIM, "evaluated_on": "all"},
        {**VICTIM, "training": {**TRAINING, "seed": 1}, "evaluated_on": "all"},
    ],
    "attacks": [
        {"name": "cw", "kappa": [0, 2], "learning_rate": 0.1, **SEARCH},
        {"name": "ead", "beta": [1e-3, 1e-2], **SEARCH},
    ],
    "save_images": "successes",
}
FGM = [{"name": "fgm", "norm": "linf", "epsilons": [0.1, 0.3]}]
EVIL = "<script>alert('&')</script>"
ADDRESSES = ("src", "href", "xlink:href", "srcset", "data", "poster", "action", "background", "formaction")
VOID = ("meta", "img", "br")


def evil() -> datasets.DataSet:
    """The digits, with names that are HTML."""
    names = tuple(f"{EVIL}{digit}" for digit in range(10))
    return replace(datasets.load("digits"), name=EVIL, identity=EVIL, class_names=names)


class Parsed(HTMLParser):
    """A page: its elements, and the texts of its tables; refuses what is not closed where it was opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.styles = ""
        self.tables: dict[str, list[list[str]]] = {}
        self._open: list[str] = []
        self._rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.elements.append((tag, found))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "div" and found.get("role") == "region":
            self._rows = self.tables.setdefault(found["aria-label"], [])
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
        self.text += data
        if {"td", "th"} & set(self._open):
            self._rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of the elements of that name."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def sections(self) -> list[str]:
        """What the contents lead to."""
        return [element["href"][1:] for element in self.all("a") if element.get("href", "").startswith("#")][1:]


def written(folder: Path) -> Parsed:
    """The page of a folder's results, written now."""
    results = Results(folder)
    return Parsed(page.write(results, report.read(results)).read_text())


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two victims, two attacks at several β and κ, images stored and tested on the other victim."""
    folder = tmp_path_factory.mktemp("report") / "study"
    sweeps.run(sweeps.small(**STUDY), folder)
    return folder


@pytest.fixture(scope="module")
def shown(study: Path) -> Parsed:
    return written(study)


@pytest.fixture
def copy(study: Path, tmp_path: Path) -> Path:
    """The same results, to be harmed."""
    return Path(shutil.copytree(study, tmp_path / "copy"))


def figures_said(line: "pd.Series", paper: dict[str, float], prefix: str = "") -> list[str]:
    """The texts of a line's figures: the figure, the paper's, and the interval."""
    found = []
    for name in FIGURES:
        of = rate_text if name == "asr" else figure_text
        value, low, high = (line[f"{prefix}{name}{end}"] for end in ("", "_lo", "_hi"))
        beside = f" ({NO_VALUE if np.isnan(paper[name]) else of(paper[name])})" if paper else ""
        found.append(f"{of(value)}{beside}" + ("" if np.isnan(low) else f"[{of(low)}, {of(high)}]"))
    return found


def test_tables_are_the_summary_with_its_intervals_and_the_papers_figures(study: Path, shown: Parsed) -> None:
    found = report.read(Results(study))
    own = found.summary[found.summary["model"] == found.summary["evaluated_on"]]
    compared = comparison.compare(own, found.victims).drop_duplicates(["cell", "case"])
    paper = {
        (line["cell"], line["case"]): {name: line[f"{name}_paper"] for name in FIGURES}
        for line in compared.to_dict("records")
    }
    assert len(paper) > 10
    first = [row for row in shown.tables["Best and average case"][2:] if len(row) > 1]
    second = [row for row in shown.tables["Worst case, and all targets"][2:] if len(row) > 1]
    cells = list(dict.fromkeys(own["cell"]))
    assert len(first) == len(second) == len(cells) == 12
    for cell, one, other in zip(cells, first, second, strict=True):
        cases = own[own["cell"] == cell].set_index("case")
        said = {case: figures_said(cases.loc[case], paper.get((cell, case), {})) for case in cases.index}
        everywhere = figures_said(cases.loc["best"], {}, "all_targets_")
        assert one[3:] == said["best"] + said["average"]
        assert other[3:] == said["worst"] + everywhere


def test_the_transfer_matrix_is_the_summarys(study: Path, shown: Parsed) -> None:
    found = report.read(Results(study))
    lines = found.summary[found.summary["case"] == "best"]
    rates = lines.set_index(["cell", "evaluated_on"])["all_targets_asr"].map(rate_text).unstack()
    rates = rates[[victim.digest for victim in found.victims]].loc[list(dict.fromkeys(lines["cell"]))]
    matrix = shown.tables["Transfer matrix"]
    assert [head.startswith("digits, no defence (") for head in matrix[1]] == [True, True]
    assert [row[4:] for row in matrix[2:]] == rates.to_numpy().tolist()


def test_what_stands_in_the_page(study: Path, shown: Parsed) -> None:
    assert shown.sections == [
        *("victims", "tables", "curves", "transfer", "images"),
        *("environment", "spec", "reproduce"),
    ]
    found, results = report.read(Results(study)), Results(study)
    records = [results.shard_record(path.stem) for path in results.shards.iterdir()]
    gradients = sum(record.gradient_evaluations for record in records)
    assert f"{len(records)} shards, {gradients:,} gradient evaluations" in shown.text
    assert "Complete: all 432 rows of 12 cells are there." in shown.text
    for victim, row in zip(found.victims, shown.tables["Victims"][1:], strict=True):
        assert row[1] == victim.digest and row[3] == f"{100 * victim.accuracy:.2f}"
    assert (study / "spec.yaml").read_text() in shown.text
    [saved] = [element for element in shown.all("a") if "download" in element]
    content = base64.b64decode(saved["href"].removeprefix("data:application/yaml;base64,"))
    assert (saved["download"], content) == ("study.yaml", (study / "spec.yaml").read_bytes())
    assert "eadbench run study.yaml" in shown.text
    said = [element["aria-label"] for element in shown.all("svg")]
    assert any(text.startswith("ASR (%) over confidence κ, of C&W. MNIST, digits") for text in said)
    distortions = "L1 distortion, L2 distortion, L∞ distortion"
    assert any(text.startswith(f"{distortions} over regularisation β, of EAD (EN), EAD (L1).") for text in said)


def test_galleries_hold_the_images_themselves(study: Path, shown: Parsed) -> None:
    images = [element for element in shown.all("img") if element["alt"].startswith("original ")]
    test = datasets.load("digits").test
    assert len(images) >= 12
    for element in images:
        number, label = re.fullmatch(r"original (\d+), of class (\d)", element["alt"]).groups()
        png = base64.b64decode(element["src"].removeprefix("data:image/png;base64,"))
        pixels = (test.images([int(number)])[0, 0].numpy() * 255).round()
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), pixels)
        assert int(label) == test.labels[int(number)]


def test_nothing_is_loaded_from_anywhere(shown: Parsed) -> None:
    addresses = [attributes[name] for _, attributes in shown.elements for name in ADDRESSES if name in attributes]
    assert {address[:5] if address.startswith("data:") else address[:1] for address in addresses} == {"#", "data:"}
    assert {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in shown.elements} == set()
    styles = shown.styles + "".join(attributes.get("style", "") for _, attributes in shown.elements)
    assert "@import" not in styles and re.findall(r"url\((?!#)", styles) == []
    [policy] = [element["content"] for element in shown.all("meta") if "http-equiv" in element]
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in policy


def test_everything_is_reached_and_named(shown: Parsed) -> None:
    ids = Counter(attributes["id"] for _, attributes in shown.elements if "id" in attributes)
    assert set(ids.values()) == {1}
    named = [attributes.get(name, "") for _, attributes in shown.elements for name in ("href", "xlink:href")]
    assert {address[1:] for address in named if address.startswith("#")} <= set(ids)
    clips = [re.fullmatch(r"url\(#(.+)\)", a["clip-path"])[1] for _, a in shown.elements if "clip-path" in a]
    assert clips and set(clips) <= set(ids)
    assert all(element["alt"] for element in shown.all("img"))
    assert all(element["role"] == "img" and element["aria-label"] for element in shown.all("svg"))
    scrolls = [element for element in shown.all("div") if element.get("class") == "scroll"]
    assert all(element["tabindex"] == "0" and element["aria-label"] for element in scrolls)
    assert all("scope" in element for element in shown.all("th"))


def test_what_results_say_is_text(tmp_path: Path) -> None:
    folder = tmp_path / "evil"
    own = {"name": "tests.dashboards.test_html_report:evil"}
    what = {"dataset": own, "attacks": FGM, "victims": [VICTIM], "targets": {"random": 2}, "save_images": "successes"}
    sweeps.run(sweeps.small(**what), folder)
    failed = Failed(task=EVIL, ended="2026-01-01T00:00:00+00:00", workers=[EVIL], error=f"\x1b[31mat\n{EVIL}: 1\x1b[0m")
    Results(folder).write_failure("one", failed)
    shown = written(folder)
    assert shown.all("script") == []
    assert f"{EVIL}: digits, no defence" in shown.text and f"at\n{EVIL}: 1" in shown.text
    assert any(f"of class {EVIL}" in element["alt"] for element in shown.all("img"))
    assert f"→ {EVIL}" in shown.text and "\x1b" not in shown.text


def test_what_does_not_fit_is_left_out_and_counted(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = written(copy)
    size = (copy / "report" / "report.html").stat().st_size
    assert size < 5_000_000
    monkeypatch.setattr(writing, "_SPARE", 20_000)
    monkeypatch.setattr(writing, "LIMIT", size - 30_000)
    monkeypatch.setattr(writing, "_CURVES", 120_000)
    shown = written(copy)
    assert (copy / "report" / "report.html").stat().st_size < size - 30_000
    [(left, of)] = re.findall(r"(\d+) of (\d+) do not fit into this file", shown.text)
    assert 0 < int(left) < int(of) and len(shown.all("figure")) == int(of) - int(left)
    assert len(whole.all("figure")) == int(of)
    monkeypatch.setattr(writing, "LIMIT", (copy / "report" / "report.html").stat().st_size - 30_000)
    [left] = re.findall(r"(\d+) of 12 cells do not fit into this file", (shown := written(copy)).text)
    grids = [element for element in shown.all("table") if element["class"] == "gallery"]
    assert 0 < len(grids) == 12 - int(left) < 12


def no_victims(folder: Path) -> None:
    shutil.rmtree(folder)
    Results(folder).begin(sweeps.small())


def no_part(folder: Path) -> None:
    part = min((folder / "examples").glob("?" * 16 + ".parquet"))
    part.unlink()


def no_rows(folder: Path) -> None:
    for part in (folder / "examples").iterdir():
        part.unlink()


def other_data(folder: Path) -> None:
    spec = (folder / "spec.yaml").read_text()
    (folder / "spec.yaml").write_text(spec.replace("tests.harness.commands.test_cli:as_mnist", "digits"))


def no_data(folder: Path) -> None:
    spec = (folder / "spec.yaml").read_text()
    (folder / "spec.yaml").write_text(
        spec.replace("tests.harness.commands.test_cli:as_mnist", "mnist\n  root: nowhere")
    )


def untold(folder: Path) -> None:
    shutil.rmtree(folder / "models")


def failure(folder: Path) -> None:
    failed = Failed(task="shard 1", ended="2026-01-01T00:00:00+00:00", workers=["w"], error="a\nKaboom: s3://me:key@x")
    Results(folder).write_failure("1", failed)


@pytest.mark.parametrize(
    ("harm", "said", "without"),
    [
        (no_victims, "Its victims were not ready", {"curves", "transfer", "images"}),
        (no_part, "Unfinished: ", set()),
        (no_rows, "There are no rows that answer the spec yet.", {"curves", "transfer", "images"}),
        (no_data, "There are no galleries: the data set is not at hand.", set()),
        (other_data, "the data set at hand is digits, and the one that was attacked is mnist.", set()),
        (untold, "the victims are not stored with the results", set()),
        (failure, "Kaboom: s3://***@x", set()),
    ],
)
def test_what_is_not_there_is_said(copy: Path, harm: Callable[[Path], None], said: str, without: set[str]) -> None:
    harm(copy)
    shown = written(copy)
    assert said in shown.text
    everything = {"victims", "tables", "curves", "transfer", "images", "environment", "spec", "reproduce"}
    assert set(shown.sections) - {"failures"} == everything - without


@pytest.mark.cluster
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
@pytest.mark.parametrize("width", [1440, 390])
def test_a_browser_without_a_network_shows_all_of_it(study: Path, shown: Parsed, width: int) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: uv sync --group test")
    file = (study / "report" / "report.html").as_uri()
    asked: list[str] = []
    problems: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(offline=True, viewport={"width": width, "height": 900})
        tab = context.new_page()
        tab.on("console", lambda said: problems.append(said.text))
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("request", lambda request: request.url.startswith("data:") or asked.append(request.url))
        tab.goto(file)
        assert tab.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        assert tab.evaluate("document.images.length") == len(shown.all("img")) > 0
        assert tab.evaluate("document.documentElement.scrollWidth") == width  # tables scroll in their own boxes
        tab.keyboard.press("Tab")
        tab.keyboard.press("Enter")
        assert tab.evaluate("document.activeElement.id") == "content"
        for name in shown.sections:
            tab.locator(f"nav a[href='#{name}']").click()
            assert tab.locator(f"#{name}").evaluate("section => section.getBoundingClientRect().top") < 900
        texts = tab.locator("svg text").evaluate_all("texts => texts.every(text => text.getBBox().width > 0)")
        assert texts and problems == [] and asked == [file]
        browser.close()
