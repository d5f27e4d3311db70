"""The notebook in docs/ runs from its first cell to its last, in an empty folder."""

from pathlib import Path

import pytest

from tests.tracking_store import make_store

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorials" / "notebook.ipynb"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the kernel's own client
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MPLBACKEND", raising=False)  # streamlit sets it for the whole process
    make_store(tmp_path / "results" / "mlflow.db")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    executed = client.execute()
    outputs = [output for cell in executed.cells for output in cell.get("outputs", ())]
    texts = [str(output.get("data", {}).get("text/html", "")) for output in outputs]
    assert any("EAD (L1)" in text for text in texts)
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert (tmp_path / "results" / "notebook" / "report" / "report.html").is_file()
