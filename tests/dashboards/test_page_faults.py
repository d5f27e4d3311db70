"""The explorer's addresses, damaged folders, and names that are HTML, without a browser."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from eadbench import dashboards
from tests import sweeps
from tests.dashboards.data_sets import SCRIPT
from tests.dashboards.explorer import LONG, VICTIM, Visit, html, messages, table_rows


@pytest.mark.parametrize(
    ("name", "page", "message"),
    [
        ("empty", "table", "no spec.yaml there; give the folder that `eadbench run` wrote"),
        ("empty", "sweep", "no spec.yaml there"),
        ("no_spec", "curves", "no spec.yaml there"),
        ("young", "table", "its victims are not ready"),
        ("young", "sweep", "are not ready; its attacks begin when they are"),
        ("no_rows", "table", "no rows that answer its spec yet"),
        ("no_rows", "curves", "no rows that answer its spec yet"),
        ("no_rows", "transfer", "no rows that answer its spec yet"),
        ("no_rows", "images", "no rows that answer its spec yet"),
        ("failed", "table", "has no rows: its shards failed"),
        ("corrupt_rows", "table", "not the rows of a sweep"),
        ("corrupt_rows", "images", "not the rows of a sweep"),
        ("corrupt_rows", "sweep", "not the rows of a sweep"),
        ("corrupt_victims", "table", "victims.json: not as a sweep wrote it"),
        ("corrupt_victims", "sweep", "victims.json: not as a sweep wrote it"),
        ("corrupt_records", "sweep", ".json: not as a sweep wrote it (Invalid JSON"),
        ("corrupt_records", "sweep", "77.json: not as a sweep wrote it (task"),
        ("no_data", "images", "The originals are not shown: the data set is not here."),
    ],
)
def test_a_page_says_what_is_wrong_with_its_folder(visit: Visit, name: str, page: str, message: str) -> None:
    assert message in messages(visit([name], page))


def test_compare_says_what_is_wrong_with_a_folder(visit: Visit) -> None:
    assert "not the rows of a sweep" in messages(visit(["first", "corrupt_rows"], "compare"))


def test_a_folder_that_the_command_was_not_given(visit: Visit) -> None:
    test = visit(["first"], dir="elsewhere")
    assert "The address asks for elsewhere" in messages(test)
    assert len(table_rows(test)) == 12


def test_an_unknown_page_is_the_table(visit: Visit) -> None:
    assert visit(["first"], "nothing").title[0].value == "Table"


@pytest.mark.parametrize("page", dashboards.PAGES)
def test_every_page_is_reached_by_its_address(visit: Visit, page: str) -> None:
    test = visit(["first", "second"], page)
    assert test.title[0].value.lower() == page
    assert len(test.markdown) == 0  # Streamlit prints every bare string of its script


def test_an_example_without_its_data_set_and_weights(visit: Visit) -> None:
    test = visit(["no_weights"], "images", view="one example")
    assert messages(test).count("A victim cannot be loaded.") == 2
    test = visit(["no_data"], "images", view="one example", setting=f"{LONG}, β = 1e-2, κ = 0")
    assert html(test).tables["Predictions of the victims"][0] == ["victim", "adversarial", "margin"]


def test_look_again_reads_new_results(visit: Visit, folders: Path, tmp_path: Path) -> None:
    folder = tmp_path / "growing"
    shutil.copytree(folders / "first", folder)
    parts = sorted((folder / "examples").iterdir())
    held = [(part, part.read_bytes()) for part in parts]
    for part in parts:
        part.unlink()
    test = visit([str(folder)])
    assert "no rows that answer its spec yet" in messages(test)
    for part, content in held:
        part.write_bytes(content)
    test.run()
    assert "no rows that answer its spec yet" in messages(test)
    test.sidebar.button[0].click().run()
    assert len(table_rows(test)) == 12


@pytest.fixture(scope="module")
def with_html_names(folders: Path) -> Sequence[str]:
    """Run a sweep whose data set, classes, victim and folder have names that are HTML; return two folders of it."""
    victim = {**VICTIM, "name": SCRIPT}
    spec = sweeps.small(
        dataset={"name": "tests.dashboards.data_sets:with_html_names"},
        images={"count": 2},
        victims=[victim, {**victim, "name": "other", "training": {**VICTIM["training"], "seed": 1}}],
        attacks=[{"name": "fgm", "norm": "linf", "epsilons": [0.3, 1]}],
        targets={"random": 2},
        save_images="successes",
    )
    sweeps.run(spec, folders / "<script>")
    shutil.copytree(folders / "<script>", folders / "<b>")
    return ["<script>", "<b>"]


@pytest.mark.parametrize(
    ("page", "query", "text"),
    [
        ("table", {}, f"{SCRIPT}: {SCRIPT}, digits, no defence"),
        ("transfer", {}, SCRIPT),
        ("images", {}, f"→ {SCRIPT}"),
        ("images", {"view": "one example"}, f"class {SCRIPT}"),
        ("images", {"view": "one example", "victim": "other"}, f"target {SCRIPT}"),
        ("compare", {}, f"{SCRIPT}tested on other"),
    ],
)
def test_names_are_shown_as_text(
    visit: Visit, with_html_names: Sequence[str], page: str, query: dict[str, str], text: str
) -> None:
    shown = html(visit(with_html_names, page, **query))
    assert text in shown.text
    assert shown.all("script") == []
    if page == "compare":
        assert [*shown.tables] == ["<b> against <script>"]
