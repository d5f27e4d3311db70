"""The quality of attacks within shares of their budgets."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eadbench.attacks.engine.ledger import SHARES
from eadbench.harness import api
from eadbench.harness.analysis import board_curves
from eadbench.harness.analysis.leaderboard import Board, boards
from eadbench.harness.analysis.optimality import local_optimality
from eadbench.harness.api import Results
from eadbench.harness.reporting import leaderboard as reports
from tests import sweeps
from tests.command import eadbench
from tests.dashboards.reading import Parsed

ATTACKS = [
    {"name": "fmn", "norm": "l1", "budget": 64, "best_queried": True},
    {"name": "ead", "decision_rules": ["en", "l1"], "budget": 128, "published": True},
    {"name": "fgm", "norm": "l1", "epsilons": [0.1, 0.3, 2, 30]},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("traces")
    sweeps.run(sweeps.small(targets="untargeted", images={"count": 6}, attacks=ATTACKS), folder)
    return folder


@pytest.fixture
def board(folder: Path) -> Board:
    [board] = boards([Results(folder).snapshot], norms=["l1"])
    return board


def test_budgets_are_those_of_the_spec(board: Board) -> None:
    budgets = dict(zip(board.attacks["label"], board.attacks["budget"], strict=True))
    known = {label.partition(",")[0]: budget for label, budget in budgets.items() if not np.isnan(budget)}
    assert known == {"FMN-L1": 64, "EAD (EN)": 128, "EAD (L1)": 128}


def test_traces_are_of_the_boards_distance(board: Board, folder: Path) -> None:
    """Row by row; an attack without a budget has none, and the EN rule's trace is of another distance."""
    [victim] = board.victims
    rows = Results(folder).rows()
    for at, attack in enumerate(board.attacks.to_dict("records")):
        quality = victim.within_budget(at)
        if attack["attack"] == "fgm" or attack["decision_rule"] == "en":
            assert np.isnan(quality).all()
            continue
        own = rows[rows["cell"] == victim.cells[at]].sort_values("image")
        traces = [[np.inf if pd.isna(value) else value for value in trace] for trace in own["trace"]]
        np.testing.assert_allclose(victim.traces[:, at].T, traces)
        assert (np.diff(quality) >= 0).all()
        assert quality.tolist() == pytest.approx(local_optimality(np.array(traces).T, victim.best).tolist())


def test_the_last_share_is_what_best_queried_reports(board: Board) -> None:
    [victim] = board.victims
    [at] = [at for at, attack in enumerate(board.attacks["attack"]) if attack == "fmn"]
    reported = victim.distances[at]
    assert victim.traces[-1, at][np.isfinite(reported)] == pytest.approx(reported[np.isfinite(reported)], rel=1e-4)


def test_curves_have_the_shares_of_a_budget_or_the_end(board: Board) -> None:
    [victim] = board.victims
    labels = board.attacks["label"].tolist()
    points = board_curves.points(board, victim, labels)
    for at, (label, budget) in enumerate(zip(labels, board.attacks["budget"], strict=True)):
        own = points[points["series"] == label]
        if np.isnan(victim.traces[:, at]).all():
            assert own["passes"].tolist() == [victim.passes[at].mean()]
            assert own["lo"].tolist() == [local_optimality(victim.distances[at], victim.best)]
        else:
            assert own["passes"].tolist() == [budget * share for share in SHARES]
            assert own["lo"].tolist() == victim.within_budget(at).tolist()
    steps = board_curves.steps(board, victim, labels)
    for label, distances in {
        **dict(zip(labels, victim.distances, strict=True)),
        board_curves.ENVELOPE: victim.best,
    }.items():
        own = steps[steps["series"] == label]
        for distance, share in zip(own["distance"], own["share"], strict=True):
            assert share == pytest.approx(100 * (distances > distance).mean())


def test_the_report_and_the_page_show_the_board(board: Board, folder: Path) -> None:
    rows = [[name, rank, *rest] for rank, name, *rest in reports.texts(board)]
    for html in (
        eadbench("leaderboard", folder, "--norm", "l1", "--format", "html").out,
        api.write_page(Results(folder)).read_text(),
    ):
        page = Parsed(html)
        assert page.tables[board.title][1:] == rows
        drawings = [attributes["aria-label"] for tag, attributes in page.elements if tag == "svg"]
        assert any("local optimality over" in label for label in drawings), drawings
