"""The explorer's page of leaderboards without a browser."""

from pathlib import Path

import pytest

from eadbench.harness.analysis.leaderboard import boards
from eadbench.harness.reporting.leaderboard import optimality_text
from eadbench.harness.results.folder import Results
from eadbench.harness.results.snapshot import Snapshot
from tests.dashboards.explorer import Visit, charts, html, messages

TITLES = ["MNIST, L1, targeted", "MNIST, L2, targeted", "MNIST, L2, targeted, κ = 2"]


@pytest.mark.parametrize("title", TITLES)
def test_the_ranking_is_the_commands(visit: Visit, folders: Path, title: str) -> None:
    test = visit(["first"], "leaderboard", ranking=title)
    [board] = [each for each in boards([Snapshot(Results(folders / "first"))]) if each.title == title]
    rows = html(test).tables[f"Ranking: {title}"]
    assert rows[0][:3] == ["attack", "#", "GO"]
    assert [row[0] for row in rows[1:]] == board.lines["label"].tolist()
    for row, line in zip(rows[1:], board.lines.to_dict("records"), strict=True):
        assert row[2].startswith(optimality_text(line["go"]))
    assert test.selectbox(key="ranking").options == TITLES
    assert len(charts(test)) == 2
    assert charts(test)[0].startswith("robust accuracy over ")
    assert all(label in charts(test)[0] for label in board.lines["label"])


def test_sweeps_are_ranked_together(visit: Visit) -> None:
    alone = visit(["first", "second"], "leaderboard")
    rows = html(alone).tables[f"Ranking: {TITLES[0]}"]
    alone.multiselect(key="with").set_value(["second"]).run()
    both = html(alone).tables[f"Ranking: {TITLES[0]}"]
    assert len(both) > len(rows)
    assert html(visit(["first", "second"], "leaderboard", **{"with": "second"})).tables[f"Ranking: {TITLES[0]}"] == both


def test_every_attack_and_the_chosen_curves(visit: Visit) -> None:
    test = visit(["first"], "leaderboard")
    few = len(html(test).tables[f"Ranking: {TITLES[0]}"])
    test.toggle(key="every").set_value(True).run()
    assert len(html(test).tables[f"Ranking: {TITLES[0]}"]) > few
    test.multiselect(key="attacks").set_value([]).run()
    assert charts(test)[0].endswith("of least of all attacks")


def test_a_sweep_without_rows_says_so(visit: Visit) -> None:
    assert "no rows" in messages(visit(["no_rows"], "leaderboard"))
