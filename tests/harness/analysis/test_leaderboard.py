"""Leaderboards of real sweeps against a slow transcription, and as text."""

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eadbench.harness.analysis.attack_rows import NORMS, minimised
from eadbench.harness.analysis.leaderboard import Board, boards
from eadbench.harness.api import Results
from eadbench.harness.parquet.rows import SCHEMA, encoded
from tests import sweeps
from tests.command import eadbench, refusal

TRAINING = {"batch_size": 32, "learning_rate": 3e-3}
VICTIMS = [{"name": name, "arch": "digits", "training": {**TRAINING, "epochs": e}} for name, e in (("A", 4), ("B", 3))]
SEARCH = {"binary_search_steps": 3, "max_iterations": 20, "initial_const": 0.1}
COMMON = {"targets": "untargeted", "images": {"count": 8}, "shard_size": 4}
FIRST = {
    "victims": VICTIMS,
    "attacks": [
        {"name": "ead", "beta": [1e-3, 1e-2], "decision_rules": ["en", "l1"], **SEARCH},
        {"name": "fgm", "norm": ["l1", "linf"], "epsilons": [0.1, 0.3, 2, 30]},
        {"name": "cw", "kappa": [0, 2], **SEARCH},
    ],
}
SECOND = {"victims": VICTIMS[:1], "attacks": [{"name": "fmn", "norm": ["l1", "l2"], "steps": 20}]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    root = tmp_path_factory.mktemp("boards")
    for name, changes in (("first", FIRST), ("second", SECOND)):
        sweeps.run(sweeps.small(**COMMON | changes), root / name)
    yield root / "first", root / "second"


def ranked(*folders: Path, norm: str, kappa: float = 0, **options: bool) -> Board:
    snapshots = [Results(folder).snapshot for folder in folders]
    [board] = [board for board in boards(snapshots, norms=[norm], **options) if board.kappa == kappa]
    return board


def _slow(folders: tuple[Path, ...], norm: str) -> dict[tuple[str, str, str], dict[str, float]]:
    """Return the figures of every attack on every victim, computed image by image."""
    rows = pd.concat([Results(folder).rows() for folder in folders])
    rows = rows[rows["kappa"].fillna(0) == 0]
    figures: dict[tuple[str, str, str], dict[str, float]] = {}
    for model, on_victim in rows.groupby("model"):
        best: dict[int, float] = {}
        for row in on_victim.to_dict("records"):
            distance = row[norm] if row["success"] else np.inf
            best[row["image"]] = min(best.get(row["image"], np.inf), distance)
        limit = max(value for value in best.values() if value < np.inf)
        clean = sum(value > 0 for value in best.values()) * limit
        gain = clean - sum(min(value, limit) for value in best.values())
        for _, own in on_victim.groupby("cell"):
            first = own.iloc[0]
            area = sum(min(row[norm], limit) if row["success"] else limit for row in own.to_dict("records"))
            figures[str(model), f"{first['attack']} {first['norm']} {first['decision_rule']}", str(first["beta"])] = {
                "lo": min(1.0, max(0.0, (clean - area) / gain)),
                "asr": 100 * own["success"].mean(),
                "distance": own[norm].astype(float).where(own["success"]).mean(),
                "passes": (own["iterations"] + own["forward_passes"]).astype(float).mean(),
            }
    return figures


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("several", [False, True], ids=["one sweep", "two sweeps"])
def test_figures_equal_a_slow_transcription(folders: tuple[Path, Path], norm: str, several: bool) -> None:
    used = folders if several else folders[:1]
    board, slow = ranked(*used, norm=norm), _slow(used, norm)
    for line in board.lines.to_dict("records"):
        attack = f"{line['attack']} {line['norm']} {line['decision_rule']}", str(line["beta"])
        expected = [slow.get((victim.digest, *attack)) for victim in board.victims]
        for victim, figures in zip(board.victims, expected, strict=True):
            local = line[f"lo_{victim.digest}"]
            assert np.isnan(local) if figures is None else local == pytest.approx(figures["lo"], abs=1e-6)
        known = pd.DataFrame([figures for figures in expected if figures is not None])
        if len(known) == len(expected):
            assert line["go"] == pytest.approx(known["lo"].mean(), abs=1e-6)
        assert line["asr"] == pytest.approx(known["asr"].mean())
        assert line["passes"] == pytest.approx(known["passes"].mean())
        if line["asr"] in (0, 100):
            assert line["distance"] == pytest.approx(known["distance"].mean(), nan_ok=True)
        assert line["seconds"] > 0
        run = [victim.images for victim, figures in zip(board.victims, expected, strict=True) if figures is not None]
        assert line["images"] == len(np.unique(np.concatenate(run)))


def test_a_board_has_the_attacks_of_its_norm(folders: tuple[Path, Path]) -> None:
    first = folders[0]
    assert set(ranked(first, norm="l1").lines["attack"]) == {"ead", "fgm"}
    assert set(ranked(first, norm="l2").lines["attack"]) == {"ead", "cw"}, "the EN rule minimises both norms"
    assert ranked(first, norm="linf").lines["attack"].tolist() == ["fgm"]
    everything = ranked(first, norm="linf", all_attacks=True)
    assert set(everything.lines["attack"]) == {"ead", "fgm", "cw"}
    assert everything.victims[0].best.tolist() == ranked(first, norm="linf").victims[0].best.tolist()


def test_norms_are_those_that_attacks_minimise(folders: tuple[Path, Path]) -> None:
    found = boards([Results(folder).snapshot for folder in folders])
    assert [(board.norm, board.kappa) for board in found] == [("l1", 0), ("l2", 0), ("linf", 0), ("l2", 2)]
    assert "κ = 2" in found[-1].title


def test_an_attack_of_one_victim_stands_last_without_a_rank(folders: tuple[Path, Path]) -> None:
    lines = ranked(*folders, norm="l1").lines
    last = lines.iloc[-1]
    assert (last["attack"], last["rank"]) == ("fmn", 0)
    assert np.isnan(last["go"])
    digests = [name for name in lines if name.startswith("lo_") and name.count("_") == 1]
    assert last[digests].isna().tolist() in ([False, True], [True, False])
    assert (lines["rank"].iloc[:-1] > 0).all()


def test_only_examples_that_all_attacks_have_count(folders: tuple[Path, Path], tmp_path: Path) -> None:
    copy = tmp_path / "second"
    shutil.copytree(folders[1], copy)
    rows = Results(copy).rows()
    shard = rows.loc[rows["norm"] == "l1", "shard"].iloc[0]
    (copy / "examples" / f"{shard}.parquet").unlink()
    board = ranked(folders[0], copy, norm="l1")
    on_victim = {victim.name: victim for victim in board.victims}
    assert (len(on_victim["A"].best), on_victim["A"].left_out) == (4, 4)
    assert (len(on_victim["B"].best), on_victim["B"].left_out) == (8, 0)
    ended = eadbench("leaderboard", folders[0], copy, "--norm", "l1")
    assert "A: 4 images; 4 more that some attack has no row of." in ended.out
    assert ended.code == 3 and f"warning: {copy}: 4 of 16 rows are missing" in ended.err


def test_contradictory_rows_of_two_sweeps_are_refused_in_any_order(folders: tuple[Path, Path], tmp_path: Path) -> None:
    copy = tmp_path / "second"
    shutil.copytree(folders[1], copy)
    assert eadbench("leaderboard", folders[1], copy).code == 0
    part = max(copy.glob("examples/*.parquet"))
    rows = pq.read_table(part).to_pylist()
    for row in rows:
        row |= {"success": True, "l0": 1.0, "l1": 0.1, "l2": 0.1, "linf": 0.1}
    part.write_bytes(encoded(pa.Table.from_pylist(rows, schema=SCHEMA)))
    for both in ((folders[1], copy), (copy, folders[1])):
        text = refusal(eadbench("leaderboard", *both))
        assert "has contradictory rows in" in text and all(str(folder) in text for folder in both)


def test_a_victim_of_two_trainings_is_said(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """The attacks of one folder are compared with those of another, on two networks."""
    copy = tmp_path / "second"
    shutil.copytree(folders[1], copy)
    for part in copy.glob("examples/*.parquet"):
        table = pq.read_table(part)
        [victim] = json.loads(table.schema.metadata[b"eadbench"])["weights"]
        part.write_bytes(encoded(table, {}, {victim: "0" * 64}))
    ended = eadbench("leaderboard", folders[0], copy)
    assert f"warning: the rows of victim {victim} are of 2 networks with different weights" in ended.err


def test_attacks_without_a_shared_example_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    sweeps.run(sweeps.small(**COMMON | SECOND | {"images": {"count": 4}, "seed": 9}), tmp_path / "other")
    theirs, ours = (set(Results(folder).rows()["image"]) for folder in (tmp_path / "other", folders[1]))
    assert not theirs & ours, "another seed draws other images"
    message = refusal(eadbench("leaderboard", folders[0], tmp_path / "other", "--norm", "l1"))
    assert message == "A: no example has rows of every attack; FMN-L1 has the fewest, 4"


@pytest.mark.parametrize(
    ("attack", "norm", "rule", "norms"),
    [
        ("fmn", "l0", None, ("l0",)),
        ("ead", None, "l1", ("l1",)),
        ("ead", None, "en", ("l1", "l2")),
        ("cw", None, None, ("l2",)),
        ("my.module:Attack", None, None, ()),
        ("my.module:Attack", None, "l2", ("l2",)),
    ],
)
def test_norms_of_attacks(attack: str, norm: str | None, rule: str | None, norms: tuple[str, ...]) -> None:
    assert minimised(attack, norm, rule) == norms
    assert set(norms) <= set(NORMS)


@pytest.mark.parametrize("format", ["table", "markdown", "csv", "latex"])
def test_formats(folders: tuple[Path, Path], format: str) -> None:
    ended = eadbench("leaderboard", *folders, "--norm", "l1", "--format", format)
    assert (ended.code, ended.err) == (0, "")
    for text in ("EAD (L1), ", "FGM-L1", "FMN-L1"):
        shown = ended.out.replace("$L_1$", "L1")
        assert text in shown, shown
    if format == "csv":
        lines = pd.read_csv(io.StringIO(ended.out))
        assert len(lines) == 2 * len(lines["label"].unique())
        assert lines["go"].between(0, 1).sum() == len(lines) - 2


def test_a_norm_that_nothing_minimises_is_refused(folders: tuple[Path, Path]) -> None:
    message = refusal(eadbench("leaderboard", folders[0], "--norm", "l0"))
    assert message == "norm: no attack of the sweeps minimises L0; rank every attack by --all-attacks"
    assert eadbench("leaderboard", folders[0], "--norm", "l0", "--all-attacks").code == 0
