"""The tutorials, run from an empty folder."""

import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from eadbench.harness.api import Results
from tests.command import eadbench
from tests.command_lines import command_lines
from tests.docs.markdown import ROOT, blocks, name_of
from tests.ray_cluster import started_cluster

TUTORIALS = sorted(ROOT.glob("docs/tutorials/*.md"))


def test_the_tutorials_are_these() -> None:
    assert [page.stem for page in TUTORIALS] == ["cluster", "defences", "transfer"]


@pytest.mark.parametrize("name", ["defences", "transfer"])
def test_a_tutorial_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ROOT / f"docs/tutorials/{name}.md"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # a store that is away at once
    write_files(page, tmp_path)
    for words in commands(page):
        if words[0] == "eadbench":
            ended = eadbench(*words[1:])
            assert ended.code == 0, ended.err
    names: dict[str, object] = {}
    for block in blocks(page, "python"):
        exec(compile("\n" * block.line + block.text, name_of(page), "exec"), names)
    if name == "transfer":
        matrix = names["matrix"]
        assert isinstance(matrix, pd.DataFrame) and {"source", "sibling", "distilled", "robust"} <= set(matrix)
    else:
        table = Results("results/defences").table()
        assert list(dict.fromkeys(table["victim"])) == ["plain", "distilled", "on examples", "on PGD"]
        assert len(names["l1"].columns) == 4  # type: ignore[attr-defined]


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
    """Write the specs that stand on a page."""
    for block in blocks(page, "yaml"):
        (folder / block.needs).write_text(block.text)


def commands(page: Path) -> list[list[str]]:
    return [words for block in blocks(page, "") for words in command_lines(block.text)]
