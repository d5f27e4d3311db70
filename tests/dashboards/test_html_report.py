"""The report as one HTML file: its contents, its completeness, and its display in a browser without a network."""

import base64
import io
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eadbench.dashboards import page
from eadbench.dashboards.page import report as report_page
from eadbench.harness import datasets
from eadbench.harness.analysis import summary as summaries
from eadbench.harness.analysis.aggregate import FIGURES
from eadbench.harness.analysis.overview import overview
from eadbench.harness.analysis.transfer import entry_text
from eadbench.harness.numbers import rate_text
from eadbench.harness.paper import comparison
from eadbench.harness.results.folder import Results
from eadbench.harness.results.records import Failed
from eadbench.harness.results.snapshot import Snapshot
from tests import sweeps
from tests.dashboards.browser import CHROMIUM
from tests.dashboards.data_sets import SCRIPT
from tests.dashboards.reading import Parsed, figure_texts, summary_of

TRAINING = {"epochs": 2, "batch_size": 32, "learning_rate": 3e-3}
VICTIM = {"arch": "digits", "training": TRAINING}
SEARCH = {"initial_const": 1, "binary_search_steps": 2, "max_iterations": 15}
STUDY = {
    "name": "study",
    "dataset": {"name": "tests.dashboards.data_sets:as_mnist"},
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
ADDRESSES = ("src", "href", "xlink:href", "srcset", "data", "poster", "action", "background", "formaction")


def written(folder: Path) -> Parsed:
    """Write the page of a folder's results, and read it."""
    snapshot = Snapshot(Results(folder), allow_code=True)  # the data sets here are code
    return Parsed(page.write(snapshot, summaries.read(snapshot)).read_text())


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run a sweep of two victims and two attacks at several β and κ, whose images are tested on the other victim."""
    folder = tmp_path_factory.mktemp("report") / "study"
    sweeps.run(sweeps.small(**STUDY), folder)
    return folder


@pytest.fixture(scope="module")
def shown(study: Path) -> Parsed:
    return written(study)


@pytest.fixture(scope="module")
def one_attack(study: Path) -> Path:
    """Run the same sweep with one attack on fewer images, whose page is written sooner."""
    folder = study.with_name("one_attack")
    smaller = STUDY | {"images": {"count": 2}, "attacks": STUDY["attacks"][:1]}
    sweeps.run(sweeps.small(**smaller), folder, models=study / "models")
    return folder


def test_tables_are_the_summary_with_its_intervals_and_the_papers_figures(study: Path, shown: Parsed) -> None:
    summary = summary_of(study)
    own = summary.own
    compared = comparison.compare(own, summary.victims).drop_duplicates(["cell", "case"])
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
        texts = {case: figure_texts(cases.loc[case], paper.get((cell, case), {})) for case in cases.index}
        assert one[3:] == texts["best"] + texts["average"]
        assert other[3:] == texts["worst"] + figure_texts(cases.loc["best"], {}, "all_targets_")


def test_the_transfer_matrix_is_the_summarys(study: Path, shown: Parsed) -> None:
    summary = summary_of(study)
    lines = summary.lines[summary.lines["case"] == "best"]
    figures = lines.set_index(["cell", "evaluated_on"])[["all_targets_asr", "all_images_asr"]]
    rates = figures.apply(lambda both: entry_text(*both), axis=1).unstack()
    rates = rates[[victim.digest for victim in summary.victims]].loc[list(dict.fromkeys(lines["cell"]))]
    matrix = shown.tables["Transfer matrix"]
    assert [head.split(" (")[0] for head in matrix[1]] == ["digits, no defence, seed 0", "digits, no defence, seed 1"]
    assert [row[4:] for row in matrix[2:]] == rates.to_numpy().tolist()


def test_the_sections_have_the_facts_of_the_sweep(study: Path, shown: Parsed) -> None:
    assert shown.sections == [
        *("overview", "victims", "tables", "trust", "seeds", "curves", "transfer", "images"),
        *("environment", "spec", "reproduce"),
    ]
    snapshot = Snapshot(Results(study))
    records = snapshot.shard_records
    gradients = sum(record.gradient_evaluations for record in records)
    assert f"{len(records)} shards, {gradients:,} gradient evaluations" in shown.text
    assert "Complete: all 432 rows of 12 cells are there, and all 432 rows on other victims." in shown.text
    for victim, row in zip(snapshot.victims, shown.tables["Victims"][1:], strict=True):
        assert row[1] == victim.digest and row[3] == f"{100 * victim.accuracy:.2f}"
    assert (study / "spec.yaml").read_text() in shown.text
    [link] = [element for element in shown.all("a") if "download" in element]
    content = base64.b64decode(link["href"].removeprefix("data:application/yaml;base64,"))
    assert (link["download"], content) == ("study.yaml", (study / "spec.yaml").read_bytes())
    assert "eadbench run study.yaml" in shown.text


def test_the_sections_of_a_study_of_several_victims_fold(shown: Parsed, tmp_path: Path) -> None:
    folds = [element for element in shown.all("details") if element.get("class") == "fold"]
    opened = [name for name, fold in zip(shown.sections, folds, strict=True) if "open" in fold]
    assert opened == ["overview", "victims"]
    alone = tmp_path / "alone"
    sweeps.run(sweeps.small(attacks=FGM, victims=[VICTIM], images={"count": 1}), alone)
    of_one = written(alone)
    assert "overview" not in of_one.sections
    assert all("open" in fold for fold in of_one.all("details") if fold.get("class") == "fold")
    assert of_one.title == "Report · alone – eadbench"


def test_the_overview_is_the_summarys(study: Path, shown: Parsed) -> None:
    entries = overview(summary_of(study))
    rates = shown.tables["Overview: ASR, %"]
    assert [row[1:] for row in rates[1:]] == [
        [rate_text(asr) for asr in part["asr"]] for _, part in entries.groupby("model", sort=False)
    ]


def test_curves_say_what_they_show(shown: Parsed) -> None:
    labels = [element["aria-label"] for element in shown.all("svg")]
    assert any(text.startswith("ASR (%) over confidence κ, of C&W, the paper's. MNIST, digits") for text in labels)
    distortions = "L1 distortion, L2 distortion, L∞ distortion"
    assert any(text.startswith(f"{distortions} over regularisation β, of C&W, EAD (EN), EAD (L1)") for text in labels)


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


def test_the_page_loads_no_other_file(shown: Parsed) -> None:
    addresses = [attributes[name] for _, attributes in shown.elements for name in ADDRESSES if name in attributes]
    assert {address[:5] if address.startswith("data:") else address[:1] for address in addresses} == {"#", "data:"}
    assert {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in shown.elements} == set()
    styles = shown.styles + "".join(attributes.get("style", "") for _, attributes in shown.elements)
    assert "@import" not in styles and re.findall(r"url\((?!#)", styles) == []
    [policy] = [element["content"] for element in shown.all("meta") if "http-equiv" in element]
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in policy


def test_ids_are_unique_and_every_element_has_a_label(shown: Parsed) -> None:
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


def test_names_and_errors_are_shown_as_text(tmp_path: Path) -> None:
    folder = tmp_path / "html"
    spec = sweeps.small(
        dataset={"name": "tests.dashboards.data_sets:with_html_names"},
        attacks=FGM,
        victims=[VICTIM],
        targets={"random": 2},
        save_images="successes",
    )
    sweeps.run(spec, folder)
    error = f"\x1b[31mat\n{SCRIPT}: 1\x1b[0m"
    failed = Failed(task=SCRIPT, ended="2026-01-01T00:00:00+00:00", workers=[SCRIPT], error=error)
    Results(folder).write_failure("one", failed)
    shown = written(folder)
    assert shown.all("script") == []
    assert f"{SCRIPT}: digits, no defence" in shown.text and f"at\n{SCRIPT}: 1" in shown.text
    assert any(f"of class {SCRIPT}" in element["alt"] for element in shown.all("img"))
    assert f"→ {SCRIPT}" in shown.text and "\x1b" not in shown.text


def test_parts_that_do_not_fit_are_left_out_and_counted(
    study: Path, shown: Parsed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(study, tmp_path / "copy"))
    file = folder / "report" / "report.html"
    size = file.stat().st_size
    assert size < 5_000_000
    monkeypatch.setattr(report_page, "_FRAME", 20_000)
    monkeypatch.setattr(report_page, "LIMIT", size - 30_000)
    monkeypatch.setattr(report_page, "_CURVES", 120_000)
    smaller = written(folder)
    assert file.stat().st_size < size - 30_000
    [(left_out, total)] = re.findall(r"(\d+) of (\d+) do not fit into this file", smaller.text)
    assert 0 < int(left_out) < int(total) and len(smaller.all("figure")) == int(total) - int(left_out)
    assert len(shown.all("figure")) == int(total)
    monkeypatch.setattr(report_page, "LIMIT", file.stat().st_size - 30_000)
    smallest = written(folder)
    [left_out] = re.findall(r"(\d+) of 12 cells do not fit into this file", smallest.text)
    grids = [element for element in smallest.all("table") if element["class"] == "gallery"]
    assert 0 < len(grids) == 12 - int(left_out) < 12


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
    (folder / "spec.yaml").write_text(spec.replace("tests.dashboards.data_sets:as_mnist", "digits"))


def no_data(folder: Path) -> None:
    spec = (folder / "spec.yaml").read_text()
    (folder / "spec.yaml").write_text(spec.replace("tests.dashboards.data_sets:as_mnist", "mnist\n  root: nowhere"))


def no_models(folder: Path) -> None:
    shutil.rmtree(folder / "models")


def failure(folder: Path) -> None:
    failed = Failed(task="shard 1", ended="2026-01-01T00:00:00+00:00", workers=["w"], error="a\nKaboom: s3://me:key@x")
    Results(folder).write_failure("1", failed)


@pytest.mark.parametrize(
    ("damage", "message", "missing"),
    [
        (no_victims, "Its victims were not ready", {"overview", "trust", "seeds", "curves", "transfer", "images"}),
        (no_part, "Unfinished: ", set()),
        (
            no_rows,
            "There are no rows that answer the spec yet.",
            {"overview", "trust", "seeds", "curves", "transfer", "images"},
        ),
        (no_data, "There are no galleries: the data set is not on this machine.", set()),
        (other_data, "the data set here is digits, and the one that was attacked is mnist.", set()),
        (no_models, "Complete: all ", set()),
        (failure, "Kaboom: s3://***@x", set()),
    ],
)
def test_missing_results_are_reported(
    one_attack: Path, tmp_path: Path, damage: Callable[[Path], None], message: str, missing: set[str]
) -> None:
    folder = Path(shutil.copytree(one_attack, tmp_path / "damaged"))
    damage(folder)
    shown = written(folder)
    assert message in shown.text
    everything = {"overview", "victims", "tables", "trust", "seeds", "curves", "transfer", "images", "environment"}
    everything |= {"spec", "reproduce"}
    assert set(shown.sections) - {"failures"} == everything - missing


@pytest.mark.cluster
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
@pytest.mark.parametrize("width", [1440, 390])
def test_a_browser_without_a_network_shows_all_of_it(study: Path, shown: Parsed, width: int) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: uv sync --group test")
    file = (study / "report" / "report.html").as_uri()
    requests: list[str] = []
    problems: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(offline=True, viewport={"width": width, "height": 900})
        tab = context.new_page()
        tab.on("console", lambda message: problems.append(message.text))
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("request", lambda request: request.url.startswith("data:") or requests.append(request.url))
        tab.goto(file)
        assert tab.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        assert tab.evaluate("document.images.length") == len(shown.all("img")) > 0
        assert tab.evaluate("document.documentElement.scrollWidth") == width  # tables scroll in their own boxes
        tab.keyboard.press("Tab")
        tab.keyboard.press("Enter")
        assert tab.evaluate("document.activeElement.id") == "content"
        folded = tab.evaluate("document.documentElement.scrollHeight")
        for name in shown.sections:
            tab.locator(f"nav a[href='#{name}']").click()
            assert tab.locator(f"#{name}").evaluate("section => section.getBoundingClientRect().top") < 900
            assert tab.locator(f"#{name}").is_visible()  # a link unfolds its section
        assert tab.evaluate("document.documentElement.scrollHeight") > 3 * folded
        texts = tab.locator("svg text").evaluate_all("texts => texts.every(text => text.getBBox().width > 0)")
        assert texts and problems == [] and requests == [file]
        browser.close()
