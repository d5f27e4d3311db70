"""``docs/your-own.md``, run as it stands on the page, in an empty folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from eadbench.harness.api import Results
from eadbench.harness.reporting import report
from tests.command import eadbench
from tests.command_lines import command_lines
from tests.docs.markdown import ROOT, blocks

PAGE = ROOT / "docs/your-own.md"


def test_the_page_runs_from_its_first_block_to_its_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # a store that is away at once
    files = {block.needs: block.text for block in blocks(PAGE, "python", "yaml", "csv")}
    first = ["net.py", "prepare.py", "own.yaml", "targets.csv", "aimed.yaml"]
    assert list(files) == [*first, "prepare_hub.py", "hubs.yaml", "noise.py", "attack.py"]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    python(tmp_path, "prepare.py")
    python(tmp_path, "prepare_hub.py")
    commands = [words[1:] for block in blocks(PAGE, "") for words in command_lines(block.text)]
    assert [words[0] for words in commands] == ["plan", "run", "run", "run"]
    for words in commands:
        ended = eadbench(*words)
        assert ended.code == 0, ended.err
    for module in ("net", "noise"):
        sys.modules.pop(module, None)
    rows = Results(tmp_path / "results" / "own").rows()
    assert len(rows) == 5 * 3 * 3 and rows["success"].mean() > 0.5
    aimed = Results(tmp_path / "results" / "aimed").rows()
    pairs = sorted(zip(aimed["label"], aimed["target"], strict=True))
    assert pairs == [(6, 0), (7, 1), (7, 3), (7, 9)] and aimed["success"].any()
    hubs = Results(tmp_path / "results" / "hubs").table()
    assert not report.warnings(Results(tmp_path / "results" / "hubs").summary)
    assert set(hubs["victim"]) == {"timm", "hf"} and set(hubs["attack"]) == {"noise", "EAD (EN)", "EAD (L1)"}
    assert (hubs["asr"][hubs["attack"] != "noise"] == 100).all()
    assert "True" in python(tmp_path, "attack.py")


def python(folder: Path, script: str) -> str:
    """Run a script of the page; return what it prints."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(
        [sys.executable, script], cwd=folder, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
