"""The queries of docs/mlflow.md, run on real sweeps in a real store."""

import contextlib
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from eadbench.harness.analysis import summary as summaries
from eadbench.harness.analysis.summary import Summary
from eadbench.harness.execution.sweep import Done
from eadbench.harness.results.folder import Results
from eadbench.harness.results.records import Failed
from eadbench.harness.results.snapshot import Snapshot
from eadbench.harness.tracking import invocation
from tests import sweeps
from tests.docs.markdown import ROOT, blocks

VICTIM = {"arch": "digits", "training": {"epochs": 4, "batch_size": 32, "learning_rate": 3e-3}}
BEST, HISTORY, OPEN = [
    block.text for block in blocks(ROOT / "docs/mlflow.md", "python") if "search_runs(" in block.text
]


@pytest.fixture(scope="module")
def cell(store: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Log a complete invocation, one with a failed shard, and one that lacks rows; return the digest of a cell."""
    results = Results(tmp_path_factory.mktemp("results") / "digits")
    spec = sweeps.small(
        name="digits",
        images={"count": 2},
        victims=[VICTIM, {**VICTIM, "name": "second", "training": {**VICTIM["training"], "seed": 1}}],
        attacks=[
            {"name": "fgm", "norm": "linf", "epsilons": [0.01]},
            {
                "name": "ead",
                "decision_rules": ["l1"],
                "initial_const": 10,
                "binary_search_steps": 2,
                "max_iterations": 100,
            },
        ],
    )
    done = sweeps.run(spec, results.root)
    own = keep(results, done, 0).own
    failure = Failed(task="a", ended="2026-01-01", workers=["w"], error="b")
    keep(results, replace(done, failures=[failure]), 1)
    min(results.examples.glob("[!.]*.parquet")).unlink()
    keep(results, None, 2)
    assert len(invocation.log(results, store)) == 3
    return str(own.loc[own["attack"] == "ead", "cell"].iloc[0])


def keep(results: Results, done: Done | None, day: int) -> Summary:
    """Keep the record of an invocation, and return the summary of the rows that are there."""
    snapshot = Snapshot(results)
    summary = summaries.read(snapshot)
    invocation.keep(snapshot, done, summary, {}, datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=day), 1.0)
    return summary


def answer(query: str, store: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the lines that a query of the docs prints, without the heads."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(query, "docs/mlflow.md", "exec"), {})
    return printed.getvalue().splitlines()[1:]


def test_the_best_attack_on_each_victim(store: str, cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = answer(BEST, store, monkeypatch)
    assert sorted(line.split("EAD")[0].strip() for line in lines) == ["digits, no defence, seed 0", "second"]
    assert all("EAD L1 β=1e-3 κ=0 · " in line for line in lines)


def test_a_cell_over_time(store: str, cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = answer(HISTORY.replace("DIGEST", cell), store, monkeypatch)
    assert 2 <= len(lines) <= 3  # the last invocation may lack its rows
    assert lines == sorted(lines)


def test_sweeps_that_failed_or_are_partial(
    store: str, cell: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = answer(OPEN, store, monkeypatch)
    assert [("failed" in line, "partial" in line) for line in lines] == [(False, True), (True, False)]
    names = [line.split()[0] for line in lines]
    assert names == ["2026-11-03", "2026-11-02"] and all("/digits" in line for line in lines)
