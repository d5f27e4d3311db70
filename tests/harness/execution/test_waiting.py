"""What a run prints while it waits."""

import importlib
import io
import os
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock
from rich.console import Console

from eadbench import models
from eadbench.harness import api
from eadbench.harness.execution import progress as progress_module
from eadbench.harness.execution.progress import Progress
from eadbench.harness.tracking import invocation
from tests import MODELS
from tests.sweeps import small


@pytest.mark.parametrize(("seconds", "text"), [(0.5, "still writing the report, after 0 s\n"), (0.0, "")])
def test_what_takes_long_is_said_without_a_terminal(seconds: float, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "SILENT", 0.1)
    console = Console(file=io.StringIO(), width=100)
    with Progress(console) as progress, progress.waiting("writing the report"):
        time.sleep(seconds)
    time.sleep(0.2)
    assert isinstance(console.file, io.StringIO) and console.file.getvalue() == text


def test_results_are_shown_before_mlflow_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[object] = []
    monkeypatch.setattr(invocation, "log", lambda *_, **__: order.append("logged"))
    api.sweep(
        small(attacks=[{"name": "fgm", "norm": "l2", "epsilons": [1]}]),
        results=tmp_path / "results",
        executor="serial",
        address=None,
        models=os.environ[MODELS],
        scale=None,
        console=Console(quiet=True),
        show=lambda results: order.append(len(results.rows())),
    )
    assert order == [3 * 9, "logged"]


def test_others_print_while_the_bars_are_away() -> None:
    console = Console(file=io.StringIO(), width=60, force_terminal=True, color_system=None, legacy_windows=False)
    with Progress(console) as progress:
        progress.report("training", 1, 2)
        with progress.paused():
            console.print("the table")
        assert not progress._bars.tasks and progress._bars.live.is_started
    assert isinstance(console.file, io.StringIO)
    assert "training" not in console.file.getvalue().partition("the table")[2]


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
