"""Several choices of targets in one sweep: from the spec to tables, the page, claims and boards."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from eadbench.harness import api, frames, spec
from eadbench.harness.analysis import leaderboard
from eadbench.harness.analysis.selection import selected
from eadbench.harness.commands import plan_table
from eadbench.harness.errors import UserError
from eadbench.harness.paper.places import places_of
from eadbench.harness.plan import grid
from eadbench.harness.reporting.tables.pages import best_figures
from eadbench.harness.results.folder import Results
from eadbench.harness.results.snapshot import Snapshot
from eadbench.harness.results.status import Watched
from tests.harness.plan.test_grid import victim
from tests.sweeps import run, small

ROWS = ["3,1", "14,0", "14,9"]
FORMS: list[Any] = ["untargeted", {"random": 2}, "all"]
ATTACKS: list[Any] = [
    {"name": "deepfool", "norm": "l2", "steps": 5},
    {"name": "fgm", "norm": "l2", "epsilons": [1, 4]},
]


def blocks(targets: object, seed: int = 2) -> list[grid.Shard]:
    one = replace(victim([3, 14]), targets=[[1], [0, 9]] if "file" in str(targets) else ())
    return list(grid.shards(small(targets=targets, seed=seed), "digits", range(10), [one]))


FROZEN: dict[str, tuple[object, str, str]] = {
    "all": ("all", "045110b873a59153", "ffecd5e403c0f080"),
    "untargeted": ("untargeted", "906152143d5a8a50", "4117eafd062bcb71"),
    "random": ({"random": 3}, "4f135b6c5b265a01", "238ce6971996c7d8"),
    "file": ({"file": "t.csv", "rows": ROWS}, "9eb7545dc931f5a5", "60c15ba7c7cc84a9"),
}
"""The digests of the first shard and the last cell of a sweep with one choice, as they were before there were lists."""


@pytest.mark.parametrize(("targets", "first", "last"), FROZEN.values(), ids=FROZEN)
def test_one_choice_has_the_digests_that_it_had(targets: object, first: str, last: str) -> None:
    for form in (targets, [targets]):
        shards = blocks(form)
        assert (shards[0].digest, shards[-1].cells()[-1].digest) == (first, last)


def test_a_list_has_the_shards_of_each_choice() -> None:
    forms: list[Any] = [*FORMS, {"file": "t.csv", "rows": ROWS}]
    one = replace(victim([3, 14]), targets=[[1], [0, 9]])
    what = small(targets=forms, seed=2)
    shards = list(grid.shards(what, "digits", range(10), [one]))
    alone = [shard.digest for form in forms for shard in blocks(form)]
    assert [shard.digest for shard in shards] == alone and len(set(alone)) == len(alone)
    size = grid.size(what, 10, [one])
    assert size.examples == sum(shard.size for shard in shards)
    assert size.cells == len({cell.digest for shard in shards for cell in shard.cells()}) == 4 * 8
    again = spec.parse(spec.written(what))
    assert again == what and spec.written(small(targets=["all"]))["targets"] == "all"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": []}, "targets: must be all, untargeted, {random: how many, at least 1}, {file:"),
        ({"targets": ["all", "some"]}, "targets: must be all, untargeted, "),
        ({"targets": ["all", {"random": 2}, "all"]}, "targets: has all twice; leave out one"),
        ({"targets": [{"file": "a", "rows": ROWS}, {"file": "b", "rows": ROWS}]}, "targets: must name one file at mo"),
        ({"targets": ["all", {"random": 1}], "attacks": ATTACKS}, r"attacks[0].name: deepfool is untargeted only; "),
    ],
    ids=["none", "unknown", "twice", "two files", "an attack runs with none"],
)
def test_what_cannot_be_is_refused_in_a_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        small(**changes)
    assert str(refused.value).startswith(message) and "\n" not in str(refused.value)


def test_attacks_run_with_the_choices_that_they_take() -> None:
    what = small(targets=FORMS, attacks=ATTACKS)
    assert [[entry.name for entry in each.attacks] for each in what.by_targets()] == [
        ["deepfool", "fgm"],
        *[["fgm"]] * 2,
    ]
    assert plan_table.left_out(what) == ["deepfool with targets random 2, all, for it is untargeted only"]
    aimed = {"name": "apgd", "norm": "linf", "targets": 3}
    assert small(targets="untargeted", attacks=[aimed]).attacks[0].parameters["targets"] == 3
    with pytest.raises(UserError, match=r"^attacks\[0\]\.targets is for untargeted attacks"):
        small(targets=["untargeted", "all"], attacks=[aimed])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("axis") / "results"
    done = run(small(targets=FORMS, attacks=ATTACKS), place)
    assert done.examples == 3 * (1 + 1 + 2 + 9) and not done.failures
    return place


@pytest.fixture(scope="module")
def results(folder: Path) -> frames.Results:
    return frames.Results(folder)


def test_each_line_is_over_its_own_targets(results: frames.Results) -> None:
    lines = results.summary.lines
    counts = lines.drop_duplicates("cell").set_index(["attack", "targets"])["targets_per_image"].to_dict()
    assert counts == {
        ("deepfool", "untargeted"): 1,
        ("fgm", "untargeted"): 1,
        ("fgm", "random 2"): 2,
        ("fgm", "all"): 9,
    }
    assert (lines["images"] == 3).all() and (lines["missing"] == 0).all() and results.summary.missing is None
    rows = results.rows()
    for cell, line in lines[lines["case"] == "best"].set_index("cell").iterrows():
        assert line["all_targets_asr"] == pytest.approx(100 * rows.loc[rows["cell"] == cell, "success"].mean())
    assert set(results.cells()["targets"]) == {"untargeted", "random 2", "all"}


def test_every_table_has_a_column_of_targets(results: frames.Results) -> None:
    markdown, latex, csv = (api.report(results, format) for format in ("markdown", "latex", "csv"))
    assert "3 images, untargeted, 2 random targets each and all 9 targets each, victim" in markdown
    for text in ("| attack | targets | κ |", "| FGM-L2 | random 2 |", "| DeepFool-L2 | untargeted |"):
        assert text in markdown
    assert "Attack & targets & $\\kappa$" in latex and "FGM-$L_2$ & random 2 &" in latex
    assert "FGM-L2, untargeted" in csv and csv.splitlines()[0].split(",").count("targets") == 1
    page = Path(api.report(results, "html")).read_text(encoding="utf-8")
    untargeted = [row for row in page.split("</tr>") if ">untargeted</th>" in row]
    assert len(untargeted) == 2  # in the table of the best and the average case alone
    for row in untargeted:
        cells = [re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<td.*?</td>", row, re.DOTALL)]
        assert [bool(cell) for cell in cells] == [False] * 4 + [True] * 4
    assert (
        ">targets</th>" in page and ">random 2</th>" in page and "Complete: all 39 rows of 4 cells are there." in page
    )


def test_lines_compete_with_those_of_the_same_targets(results: frames.Results) -> None:
    lines = results.summary.lines
    best = lines[lines["case"] == "best"]
    marks = best_figures(best, best)
    alone = best["targets"].isin(["random 2", "all"])
    assert not marks[alone].any(axis=None) and marks.loc[~alone, "l2"].sum() == 1


def test_lines_are_chosen_by_their_targets(results: frames.Results) -> None:
    chosen = selected(results.summary, only='targets == "random 2"', sort=None)
    assert set(chosen.lines["targets"]) == {"random 2"} and chosen.counts is not None and len(chosen.counts) == 1
    assert set(chosen.labels.series.values()) == {"FGM-L2"}


def test_rows_that_are_missing_are_counted_by_choice(folder: Path, results: frames.Results) -> None:
    what = results.spec
    assert run(what, folder).nothing
    snapshot = Snapshot(Results(folder))
    untargeted = next(cell for cell, text in snapshot.targets.items() if text == "untargeted")
    rows = results.rows()
    shards = sorted(set(rows.loc[rows["cell"] == untargeted, "shard"]))
    for shard in shards:
        Results(folder).part(shard).unlink()
    progress = Watched(Results(folder)).progress()
    assert progress is not None and (progress.rows_done, progress.rows, progress.cells_done) == (36, 39, 3)
    assert "3 of 39 rows are missing, in 1 of 4 lines" in str(frames.Results(folder).summary.missing)
    assert run(what, folder).examples == 3


def test_a_sweep_grows_by_a_choice(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "results"
    assert run(small(targets="untargeted", attacks=ATTACKS), place).examples == 3 * 2
    assert run(small(targets=FORMS, attacks=ATTACKS), place).examples == 3 * (2 + 9)
    ours, theirs = (frames.Results(each).summary.lines for each in (place, folder))
    pd.testing.assert_frame_equal(ours, theirs)


def test_claims_and_boards_count_an_example_once(folder: Path, results: frames.Results) -> None:
    rows = results.rows()
    targeted = rows[rows["target"].notna()]
    assert targeted.duplicated(["image", "target"]).sum() == 3 * 2
    [place] = places_of(targeted, {victim.digest: victim for victim in results.snapshot.victims})
    [cell] = place.all_cells
    assert (len(cell.examples), len(cell.digests)) == (3 * 9, 1)
    found = {board.targeted: board for board in leaderboard.boards([Snapshot(Results(folder))])}
    assert {*found[True].attacks["label"]} == {"FGM-L2"}
    assert {*found[False].attacks["label"]} == {"FGM-L2", "DeepFool-L2"}
    assert found[True].victims[0].distances.shape == (1, 27)
