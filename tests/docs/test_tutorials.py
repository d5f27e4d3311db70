"""The tutorials, run from an empty folder."""

import contextlib
import io
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from eadbench.harness.api import Results
from eadbench.harness.reporting import report
from tests.command import eadbench
from tests.command_lines import command_lines
from tests.docs.markdown import ROOT, blocks, name_of
from tests.ray_cluster import started_cluster

TUTORIALS = sorted(ROOT.glob("docs/tutorials/*.md"))


def test_the_tutorials_are_these() -> None:
    assert [page.stem for page in TUTORIALS] == [
        "cluster",
        "defences",
        "hubs-and-attacks",
        "own-model",
        "transfer",
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forks: None) -> Iterator[Path]:
    """An empty working folder, whose modules can be imported."""
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # a store that is away at once
    yield tmp_path
    for module in ("net", "noise"):
        sys.modules.pop(module, None)


def test_own_model(folder: Path) -> None:
    page = ROOT / "docs/tutorials/own-model.md"
    write_files(page, folder)
    python("prepare.py")
    run_commands(page)
    rows = Results("results/own").rows()
    assert len(rows) == 5 * 3 * 3 and rows["success"].mean() > 0.5
    aimed = Results("results/aimed").rows()
    pairs = sorted(zip(aimed["label"], aimed["target"], strict=True))
    assert pairs == [(6, 0), (7, 1), (7, 3), (7, 9)] and aimed["success"].any()
    assert "True" in python("attack.py")


def test_hubs_and_attacks(folder: Path) -> None:
    page = ROOT / "docs/tutorials/hubs-and-attacks.md"
    write_files(page, folder)
    python("prepare_hub.py")
    run_commands(page)
    table = Results("results/hubs").table()
    assert all("few images" in text for text in report.warnings(Results("results/hubs").summary))
    assert set(table["victim"]) == {"timm", "hf"} and set(table["attack"]) == {"noise", "EAD (EN)", "EAD (L1)"}
    assert (table["asr"][table["attack"] != "noise"] == 100).all()


def test_transfer(folder: Path) -> None:
    page = ROOT / "docs/tutorials/transfer.md"
    write_files(page, folder)
    run_commands(page)
    matrix = run_python(page)["matrix"]
    assert isinstance(matrix, pd.DataFrame) and {"source", "sibling", "distilled", "robust"} <= set(matrix)


def test_defences(folder: Path) -> None:
    page = ROOT / "docs/tutorials/defences.md"
    write_files(page, folder)
    run_commands(page)
    assert list(dict.fromkeys(Results("results/defences").table()["victim"])) == [
        "plain",
        "distilled",
        "on examples",
        "on PGD",
    ]
    assert len(run_python(page)["l1"].columns) == 4


@pytest.mark.cluster
def test_the_cluster_tutorial_runs(tmp_path: Path) -> None:
    page = ROOT / "docs/tutorials/cluster.md"
    write_files(page, tmp_path)
    with started_cluster() as cluster:
        here = {
            "127.0.0.1:6379": f"127.0.0.1:{cluster.ports['port']}",
            "http://127.0.0.1:8265": cluster.url("dashboard-port"),
            "/shared/results/digits": str(tmp_path / "results/digits"),
        }
        outputs = list[str]()
        for words in commands(page):
            if words[:2] in (["ray", "get-auth-token"], ["ray", "start"], ["ray", "stop"]):
                continue
            if words[0] == "eadbench" and "auto" in words:  # what the job runs
                continue
            ended = subprocess.run(
                [here.get(word, word) for word in words],
                cwd=tmp_path,
                env=cluster.environment
                | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
                capture_output=True,
                text=True,
                timeout=400,
            )
            assert ended.returncode == 0, ended.stdout + ended.stderr
            outputs.append(ended.stdout)
        first, again, job, listed, *_ = outputs
        assert "EAD (L1)" in first and "Nothing to do" in again and "Nothing to do" in job and "complete" in listed
    assert len(Results(tmp_path / "results/digits").rows()) == 6 * 9 * (2 * 2 + 3)


def write_files(page: Path, folder: Path) -> None:
    """Write the files that stand on a page."""
    for block in blocks(page, "python", "yaml", "csv"):
        if block.needs:
            (folder / block.needs).write_text(block.text)


def run_commands(page: Path) -> None:
    """Run the page's commands, one after the other."""
    for words in commands(page):
        ended = eadbench(*words[1:])
        assert ended.code == 0, ended.err


def run_python(page: Path) -> dict[str, Any]:
    """Run the page's blocks of Python that are no files, as in a notebook; return their names."""
    names: dict[str, Any] = {}
    for block in blocks(page, "python"):
        if not block.needs:
            exec(compile("\n" * block.line + block.text, name_of(page), "exec"), names)
    return names


def python(script: str) -> str:
    """Run a script of the page, with the working folder on the import path; return what it prints."""
    with contextlib.redirect_stdout(io.StringIO()) as printed, pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path.cwd())
        runpy.run_path(script, run_name="__main__")
    return printed.getvalue()


def commands(page: Path) -> list[list[str]]:
    return [words for block in blocks(page, "") for words in command_lines(block.text)]
