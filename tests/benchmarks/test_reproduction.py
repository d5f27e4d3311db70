"""The published rows of a small sweep, and the page that is made from them."""

import json
import re
from pathlib import Path

import duckdb
import numpy as np
import pytest

from benchmarks import reproduction
from eadbench.harness import datasets, spec
from eadbench.harness.analysis.aggregate import FIGURES
from eadbench.harness.errors import UserError
from eadbench.harness.frames import Results
from tests.sweeps import run

ROOT = Path(reproduction.__file__).parents[1]
MARKS = "".join(
    f"<!-- {name}: {reproduction.MADE} -->\nold {name}\n<!-- end of {name} -->\n" for name in reproduction.PARTS
)
TRAINING = {"epochs": 4, "batch_size": 32, "learning_rate": 3e-3, "ema": 0.9}
TABLE_08 = {
    "name": "table_08",
    "images": {"count": 5},
    "victims": [
        {"arch": "digits", "training": TRAINING, "evaluated_on": ["other"]},
        {"arch": "digits", "training": TRAINING | {"seed": 1}, "name": "other", "attacked": False},
    ],
    "attacks": [
        {"name": "cw", "binary_search_steps": 3, "max_iterations": 40, "initial_const": 1},
        {"name": "ead", "beta": 1e-3, "binary_search_steps": 3, "max_iterations": 40, "initial_const": 1},
        {"name": "fgm", "norm": "l2", "epsilons": [0.5, 1, 2, 4]},
    ],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of table 8 on images called MNIST, its published rows and its page."""
    folder = tmp_path_factory.mktemp("reproduction")
    digits = datasets.load("digits")
    for name, split in (("train", digits.train), ("test", digits.test)):
        images = split.images(range(len(split))).numpy()
        np.savez(folder / f"{name}.npz", images=images, labels=split.labels.numpy())
    dataset = {"name": "tensors", "path": str(folder), "called": "mnist"}
    run(spec.parse(TABLE_08 | {"dataset": dataset}), folder / "results" / "table_08")
    (folder / "page.md").write_text(f"before\n{MARKS}after\n")
    reproduction.main(["publish", str(folder / "results/table_08"), "--into", str(folder / "docs/results")])
    reproduction.main(["page", str(folder / "docs/results"), "--into", str(folder / "page.md")])
    return folder


def test_published_rows_give_the_same_figures(place: Path) -> None:
    ours, copy = Results(place / "results/table_08"), Results(place / "docs/results/table_08")
    assert copy.table().equals(ours.table()) and len(copy.table()) == 8
    assert len(copy.rows()) == 2 * 4 * 5 * 9


def test_nothing_of_the_machine_is_published(place: Path) -> None:
    published = place / "docs/results/table_08"
    names = {file.name for file in published.rglob("*") if file.is_file()}
    assert {"average.csv", "spec.yaml", "recipe.json", "evaluation-test.json"} <= names
    assert not any(name.startswith(("weights", "owner", "report")) for name in names)
    assert str(place) not in (published / "spec.yaml").read_text()
    assert all(not json.loads(file.read_text())["node"] for file in published.glob("shards/*.json"))


def test_a_reader_recomputes_the_tables(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's own query gives the figures of the page."""
    monkeypatch.chdir(place)
    page = (place / "page.md").read_text()
    [query] = re.findall(r'`duckdb -c "(.*)"`', page)
    figures = {tuple(line[:5]): line[7:] for line in duckdb.sql(query).fetchall()}
    lines = Results(place / "results/table_08").summary.lines.query("case == 'average'")
    assert len(lines) == len(figures) == 8 and sum(line[0] > 0 for line in figures.values()) >= 3
    shown = [float(number) for number in re.findall(r"\| ([\d.]+) \[", page)]
    for line in lines.to_dict("records"):
        key = tuple(
            line[name] if isinstance(line[name], str) else None
            for name in ("model", "evaluated_on", "attack", "norm", "decision_rule")
        )
        for name, value in zip(FIGURES, figures[key], strict=True):
            assert (np.nan if value is None else value) == pytest.approx(line[name], rel=1e-6, nan_ok=True)
            if line["model"] == line["evaluated_on"] and value is not None:
                assert any(value == pytest.approx(printed, rel=1e-3, abs=6e-4) for printed in shown)


def test_the_page(place: Path) -> None:
    page = (place / "page.md").read_text()
    assert page.startswith("before\n") and page.endswith("after\n") and "old" not in page
    assert "### Table 8: attacks on an undefended network, MNIST" in page and page.count("**Table ") == 1
    assert "4 epochs, batches of 32, adam at 0.003, seed 0, ema 0.9 |" in page
    assert re.search(r"\| \[8\]\(\.\./sweeps/paper/table_08\.yaml\) \| 5 \| 360 \| [\d.]+ \| [\d,]+ \|", page)
    assert "**Not enough data.**" in page
    again = reproduction.page(page, [Results(place / "docs/results/table_08")])
    assert again == page


def test_mistakes_are_named(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the page has no part victims: put <!-- victims: made by"):
        reproduction.page("no marks", [])
    next((place / "results/table_08/examples").glob("*.parquet")).rename(tmp_path / "part.parquet")
    with pytest.raises(UserError, match=r"missing.*run the sweep to its end before its rows are published"):
        reproduction.publish(place / "results/table_08", tmp_path)


def test_the_page_of_the_docs_is_made_from_the_published_rows() -> None:
    published = reproduction.published(ROOT / "docs/results")
    text = (ROOT / "docs/reproduction.md").read_text()
    for name in reproduction.PARTS:
        assert f"<!-- {name}: {reproduction.MADE} -->\n" in text and f"<!-- end of {name} -->" in text
    assert not published or reproduction.page(text, published) == text
