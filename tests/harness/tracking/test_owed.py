"""A run that ends before it writes its record: the next command that can writes it."""

import json
from pathlib import Path

import pytest

from eadbench.harness.results.folder import Results
from eadbench.harness.tracking import invocation
from tests.command import eadbench
from tests.harness.commands.spec_files import QUICK, spec_file
from tests.sweeps import run, small


@pytest.fixture
def cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep whose rows are complete, and whose run ended there."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # a store that is away at once
    folder = tmp_path / "results" / "small"
    run(small(**QUICK), folder)
    assert invocation.owed(Results(folder))
    return folder


def _words(command: str, folder: Path) -> list[object]:
    """The words of a command that pays what a run owes."""
    commands: dict[str, list[object]] = {
        "run": ["run", spec_file(), "--executor", "serial", "--results", folder],
        "log": ["log", folder],
        "report": ["report", folder, "--format", "html"],
    }
    return commands[command]


@pytest.mark.parametrize("command", ["run", "log", "report"])
def test_the_record_is_written_once(command: str, cut_off: Path) -> None:
    for _ in range(2):
        eadbench(*_words(command, cut_off))
        [record] = (cut_off / "invocations").glob("*.json")
        assert len(json.loads(record.read_text())["cells"]) == 1
        assert (record.with_suffix("") / "report.html").is_file()
    assert not invocation.owed(Results(cut_off))


@pytest.mark.parametrize("command", ["run", "log", "report"])
def test_the_files_of_a_record_are_written_once(command: str, cut_off: Path) -> None:
    """A run that ends after its record, and before the report: the record stays, and gets its files."""
    eadbench("report", cut_off, "--format", "html")
    [record] = (cut_off / "invocations").glob("*.json")
    before, report = record.read_bytes(), record.with_suffix("") / "report.html"
    (cut_off / "report" / "report.html").unlink()
    report.unlink()
    assert invocation.owed(Results(cut_off))
    eadbench(*_words(command, cut_off))
    assert [*(cut_off / "invocations").glob("*.json")] == [record] and record.read_bytes() == before
    assert report.is_file() and (cut_off / "report" / "report.html").is_file()
    assert not invocation.owed(Results(cut_off))


def test_a_run_goes_on_logging(cut_off: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until a run has told MLflow everything, though there is nothing else to do."""
    for _ in range(2):
        assert "warning: cannot log to MLflow" in eadbench(*_words("run", cut_off)).err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert "warning" not in eadbench(*_words("run", cut_off)).err
    assert "1 invocations, 0 cells written, 1 were there" in eadbench("log", cut_off).out
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert "warning" not in eadbench(*_words("run", cut_off)).err, "it asks MLflow nothing any more"


def test_more_rows_are_owed_again(cut_off: Path) -> None:
    eadbench("report", cut_off, "--format", "html")
    run(small(**{**QUICK, "images": {"count": 4}}), cut_off)
    assert invocation.owed(Results(cut_off))


def test_other_figures_of_the_same_rows_have_a_record_of_their_own(cut_off: Path) -> None:
    words = _words("run", cut_off)
    for changes in ["--set", "resources.workers=2"], ["--set", "images.count=1"], ["--set", "images.count=1"]:
        assert eadbench(*words, *changes).code == 0
    records = [json.loads(path.read_text()) for path in (cut_off / "invocations").glob("*.json")]
    assert sorted(record["params"]["images"] for record in records) == [1, small().images.count]
