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


@pytest.mark.parametrize("command", ["run", "log", "report"])
def test_the_record_is_written_once(command: str, cut_off: Path) -> None:
    words = {
        "run": ["run", spec_file(), "--executor", "serial", "--results", cut_off],
        "log": ["log", cut_off],
        "report": ["report", cut_off, "--format", "html"],
    }[command]
    for _ in range(2):
        eadbench(*words)
        [record] = (cut_off / "invocations").glob("*.json")
        assert len(json.loads(record.read_text())["cells"]) == 1
        assert (record.with_suffix("") / "report.html").is_file()
    assert not invocation.owed(Results(cut_off))


def test_more_rows_are_owed_again(cut_off: Path) -> None:
    eadbench("report", cut_off, "--format", "html")
    run(small(**{**QUICK, "images": {"count": 4}}), cut_off)
    assert invocation.owed(Results(cut_off))
