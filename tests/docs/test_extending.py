"""The worked example of ``docs/extending.md``, run as it stands on the page."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from eadbench.harness.api import Results
from tests.command import Ended, eadbench
from tests.command_lines import command_lines
from tests.docs.markdown import ROOT, blocks

pytest_plugins = ["pytester"]

PAGE = ROOT / "docs/extending.md"
FILES = {block.needs: block.text for block in blocks(PAGE, "python", "yaml") if "." in block.needs}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forks: None) -> Iterator[Path]:
    """A working folder with the page's files, which is not on the import path yet."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    yield tmp_path
    for name in FILES:
        sys.modules.pop(name.removesuffix(".py"), None)


def test_the_page_has_one_file_of_each_kind() -> None:
    assert list(FILES) == [
        "my_attack.py", "test_my_attack.py", "my_defense.py", "my_front.py", "my_detector.py", "my_model.py",
        "my_data.py", "my_sweep.yaml",
    ]  # fmt: skip


def test_the_attack_passes_its_checks(folder: Path) -> None:
    commands = [words[1:] for block in blocks(PAGE, "") for words in command_lines(block.text)]
    checks = [words for words in commands if words[0] == "check"]
    assert len(checks) == 2
    for words in checks:
        ended = eadbench(*words)
        assert ended.code == 0, ended.out
        assert "all 24 checks passed" in ended.out


def test_the_listing_shows_its_hyperparameters(folder: Path) -> None:
    ended = eadbench("attacks", "my_attack:SignStep")
    assert ended.code == 0
    assert "epsilon: 0.1  (may be a list)" in ended.out and "steps: 3" in ended.out


def test_the_test_suite_passes(pytester: pytest.Pytester) -> None:
    for name in ("my_attack.py", "test_my_attack.py"):
        (pytester.path / name).write_text(FILES[name])
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "test_my_attack.py")
    result.assert_outcomes(passed=48)


def test_the_sweep_runs(folder: Path) -> None:
    ended: Ended = eadbench("run", "my_sweep.yaml", "--executor", "serial")
    assert ended.code == 0, ended.err
    results = Results(folder / "results" / "mine")
    rows: pd.DataFrame = results.rows()
    mine = rows[rows["attack"] == "my_attack:SignStep"]
    assert mine["cell"].nunique() == 6
    assert mine.groupby("cell").size().tolist() == [3 * 9] * 6  # images × targets
    assert rows["success"].any()
    assert "sign step" in ended.out and "fine-tuning" in ended.out and "brightness" in ended.out
    again = eadbench("run", "my_sweep.yaml", "--executor", "serial")
    assert again.code == 0 and "Nothing to do" in again.out
