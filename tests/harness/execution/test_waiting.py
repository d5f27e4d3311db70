"""What a run prints while it waits."""

import importlib
import io
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock
from rich.console import Console

from eadbench import models
from eadbench.harness.execution import progress as progress_module
from eadbench.harness.execution.progress import Progress


@pytest.mark.parametrize(("seconds", "text"), [(0.5, "still writing the report, after 0 s\n"), (0.0, "")])
def test_what_takes_long_is_said_without_a_terminal(seconds: float, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "SILENT", 0.1)
    console = Console(file=io.StringIO(), width=100)
    with Progress(console) as progress, progress.waiting("writing the report"):
        time.sleep(seconds)
    time.sleep(0.2)
    assert isinstance(console.file, io.StringIO) and console.file.getvalue() == text


def test_a_lock_that_another_holds_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("eadbench.models.lock"), "SILENT", 0.1)
    texts: list[str] = []
    with models.lock(tmp_path / "free", texts.append):
        assert not texts
    held = threading.Event()

    def hold() -> None:
        with FileLock(tmp_path / "model.lock"):
            held.set()
            time.sleep(0.5)

    threading.Thread(target=hold).start()
    held.wait()
    with models.lock(tmp_path / "model", texts.append):
        assert texts == [f"waiting for {tmp_path}/model.lock, which another process holds"]
