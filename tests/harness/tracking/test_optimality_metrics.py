"""The optimality of cells among the metrics of a sweep's record for MLflow."""

import json
from pathlib import Path

import pytest

from eadbench.harness.analysis.leaderboard import boards
from eadbench.harness.api import Results
from tests.command import eadbench
from tests.sweeps import run, small

FGM = {"name": "fgm", "epsilons": [0.1, 0.3, 2, 30]}


def test_cells_have_the_optimality_of_the_leaderboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # a store that is away at once
    folder = tmp_path / "results"
    attacks = [FGM | {"norm": ["l1", "linf"]}, {"name": "fmn", "norm": "l1", "steps": 20}]
    run(small(targets="untargeted", images={"count": 6}, attacks=attacks), folder)
    eadbench("report", folder, "--format", "html")
    [record] = (folder / "invocations").glob("*.json")
    metrics = {cell["digest"]: cell["metrics"] for cell in json.loads(record.read_text())["cells"]}
    found = [
        (name, value) for each in metrics.values() for name, value in each.items() if name.startswith(("lo.", "go."))
    ]
    [board] = [each for each in boards([Results(folder).snapshot]) if each.norm == "l1"]
    [victim] = board.victims
    for at, cell in enumerate(victim.cells):
        assert cell is not None
        assert metrics[cell]["lo.l1"] == metrics[cell]["go.l1"] == board.scores.local[at, 0]
    assert len(found) == 4, "the only attack in L∞ has nothing to compare with"
