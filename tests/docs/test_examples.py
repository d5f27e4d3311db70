"""The examples of the docs are run, on the results of a small sweep."""

from pathlib import Path

import duckdb
import pytest
import yaml

from eadbench.harness import spec
from tests.docs.markdown import PAGES, ROOT, Block, blocks, name_of
from tests.sweeps import run

TRAINING = {"epochs": 2, "batch_size": 32, "learning_rate": 3e-3}
DIGITS = {
    "name": "digits",
    "dataset": {"name": "digits"},
    "images": {"count": 3},
    "victims": [
        {"arch": "digits", "training": TRAINING, "evaluated_on": ["other"]},
        {"name": "other", "arch": "digits", "training": TRAINING | {"seed": 1}, "attacked": False},
    ],
    "attacks": [
        {"name": "fgm", "norm": "linf", "epsilons": [0.1, 0.3]},
        {"name": "ead", "beta": [1e-3, 1e-2], "binary_search_steps": 3, "max_iterations": 20},
    ],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with ``sweeps/digits.yaml``, and its results in ``results/digits``."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "sweeps").mkdir()
    (folder / "sweeps/digits.yaml").write_text(yaml.safe_dump(DIGITS))
    run(spec.parse(DIGITS), folder / "results" / "digits")
    return folder


PYTHON = [
    page
    for page in PAGES
    if page.parent.name != "tutorials" and any(not block.needs for block in blocks(page, "python"))
]


@pytest.mark.parametrize("page", PYTHON, ids=name_of)
def test_python(page: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page, one after the other, as in a notebook."""
    monkeypatch.chdir(place)
    names: dict[str, object] = {}
    for block in blocks(page, "python"):
        if not block.needs:
            exec(compile("\n" * block.line + block.text, name_of(page), "exec"), names)
    if page.name == "results.md":
        assert len(names["table"]) == len(names["best_case"]) == 5  # type: ignore[arg-type]
        assert names["matrix"].shape == (5, 2)  # type: ignore[attr-defined]
        assert names["pixels"].shape[1:] == (1, 8, 8)  # type: ignore[attr-defined]
        assert len(names["tested"]) == len(names["pixels"]) > 10  # type: ignore[arg-type]
    if page.name == "api.md":
        assert len(names["images"]) == 4  # type: ignore[arg-type]


def test_pages_with_examples_are_found() -> None:
    assert {"README.md", "docs/api.md", "docs/results.md"} <= {name_of(page) for page in PYTHON}


@pytest.mark.parametrize("block", [block for page in PAGES for block in blocks(page, "sql")], ids=str)
def test_sql(block: Block, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    assert duckdb.sql(block.text).fetchall()


def test_there_is_sql() -> None:
    assert blocks(ROOT / "docs/results.md", "sql")
