"""The Python API: a sweep from a mapping, its results as frames and tensors, and errors as exceptions."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

import eadbench
from eadbench.harness.errors import UserError
from tests.sweeps import SMALL

NETWORKS = [
    {"name": "first", "arch": "digits", "training": {"epochs": 4, "batch_size": 32, "learning_rate": 3e-3}},
    {"name": "second", "arch": "digits", "training": {"epochs": 4, "batch_size": 32, "learning_rate": 3e-3, "seed": 1}},
]
CONTENT = yaml.safe_load(SMALL) | {
    "evaluated": "all",
    "victims": [NETWORKS[0] | {"evaluated_on": ["second"]}, NETWORKS[1] | {"attacked": False}],
    "attacks": [
        {"name": "fgm", "norm": ["l1", "linf"], "epsilons": [0.1, 0.3, 2]},
        {"name": "ead", "beta": [1e-3, 1e-2], "binary_search_steps": 4, "max_iterations": 30},
    ],
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> eadbench.Results:
    folder = tmp_path_factory.mktemp("api")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return eadbench.run(CONTENT, executor="serial", results=str(folder / "small"))


def test_importing_an_attack_imports_torch_alone() -> None:
    heavy = "{'ray', 'mlflow', 'pandas', 'pyarrow', 'torchvision', 'matplotlib', 'streamlit', 'typer'}"
    code = f"import sys, eadbench.attacks; print(sorted({heavy} & set(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"


def test_rows_and_cells(results: eadbench.Results) -> None:
    rows, cells = results.rows(), results.cells()
    own = rows[rows["model"] == rows["evaluated_on"]]
    assert len(cells) == 2 + 2 * 2 and cells["cell"].is_unique
    assert set(own["cell"]) == set(cells["cell"])
    assert len(own) == len(cells) * 3 * 9
    assert list(results.rows(["cell", "l1"]).columns) == ["cell", "l1"]


@pytest.mark.parametrize("case", ["best", "average", "worst", "all_targets"])
def test_the_table_has_the_figures_of_the_summary(results: eadbench.Results, case: str) -> None:
    table = results.table(case=case)  # type: ignore[arg-type]
    own = table[table["victim"] == table["tested_on"]]
    assert own["attack"].tolist() == ["FGM-L1", "FGM-Linf", "EAD (EN)", "EAD (EN)", "EAD (L1)", "EAD (L1)"]
    assert set(own["victim"]) == {"first"} and set(table["tested_on"]) == {"first", "second"}
    rows = results.rows()
    for line in own.to_dict("records"):
        part = rows[(rows["cell"] == line["cell"]) & (rows["model"] == rows["evaluated_on"])]
        if case == "all_targets":
            assert line["asr"] == pytest.approx(100 * part["success"].mean())
            assert line["l1"] == pytest.approx(part["l1"].mean(), nan_ok=True)
        elif case == "best":
            assert line["asr"] == pytest.approx(100 * part.groupby("image")["success"].any().mean())
    assert (table["asr_lo"] <= table["asr"]).all() and (table["asr"] <= table["asr_hi"]).all()


def test_transfer_is_a_line_a_cell_and_a_column_a_victim(results: eadbench.Results) -> None:
    matrix = results.transfer()
    assert set(matrix["cell"]) == set(results.cells()["cell"])
    assert {"first", "second"} <= set(matrix.columns)
    rows = results.rows()
    for line in matrix.to_dict("records"):
        part = rows[(rows["cell"] == line["cell"]) & (rows["model"] != rows["evaluated_on"])]
        assert line["second"] == pytest.approx(100 * part["success"].mean())


def test_images_are_tensors_that_succeed(results: eadbench.Results) -> None:
    cell = results.cells()["cell"].iloc[-1]
    keys, images = results.images(cell[:8])
    rows = results.rows()
    successes = rows[(rows["cell"] == cell) & (rows["model"] == rows["evaluated_on"]) & rows["success"]]
    assert len(keys) == len(images) == len(successes) > 0
    assert images.dtype == torch.float32 and images.min() >= 0 and images.max() <= 1
    with pytest.raises(UserError, match="none of the sweep's cells begins with 'x'"):
        results.images("x")


def test_a_second_run_does_nothing_and_a_plan_says_so(results: eadbench.Results) -> None:
    before = results.rows()
    again = eadbench.run(CONTENT, executor="serial", results=results.folder)
    pd.testing.assert_frame_equal(again.rows(), before)
    assert list(eadbench.plan(CONTENT, results=results.folder).remaining) == []
    more = CONTENT | {"images": {"count": 4}}
    assert sum(len(s.examples) for s in eadbench.plan(more, results=results.folder).remaining) == 9 * (2 + 2)


def test_report_is_text_or_a_page(results: eadbench.Results) -> None:
    assert "EAD (L1)" in eadbench.report(results, "markdown")
    assert eadbench.report(results.folder, "csv").startswith("table,victim,label,")
    page = Path(eadbench.report(results, "html"))
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_mistakes_are_exceptions(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"attacks\[0\].name: must name a known attack"):
        eadbench.run(CONTENT | {"attacks": [{"name": "nothing"}]}, executor="serial")
    with pytest.raises(UserError, match=r"no spec\.yaml there"):
        eadbench.Results(tmp_path).rows()
    with pytest.raises(UserError, match="cannot be read"):
        eadbench.plan(tmp_path / "missing.yaml")
