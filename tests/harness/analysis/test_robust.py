"""Robust accuracy over folders against a slow count, in every format, and mistakes."""

import io
from pathlib import Path

import pandas as pd
import pytest

from eadbench import robust
from eadbench.harness.analysis.robust import EVERY, robustness
from eadbench.harness.api import Results
from eadbench.harness.errors import UserError
from tests import sweeps
from tests.command import eadbench, refusal

TRAINING = {"batch_size": 32, "learning_rate": 3e-3}
VICTIMS = [{"name": name, "arch": "digits", "training": {**TRAINING, "epochs": e}} for name, e in (("A", 4), ("B", 3))]
EVALUATION = {"norm": "linf", "epsilon": [0.03, 0.06], "ensemble": ["apgd-ce"], "steps": 5}
FIRST = {"victims": VICTIMS, "attacks": None, "evaluate": EVALUATION, "images": {"count": 8}, "targets": "untargeted"}
SECOND = {
    "victims": VICTIMS[:1],
    "images": {"count": 6},
    "targets": "untargeted",
    "attacks": [{"name": "fmn", "norm": ["linf", "l2"], "steps": 20}],
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A sweep at two fixed ε on two victims, and minimum-norm attacks on fewer images of the first."""
    root = tmp_path_factory.mktemp("robust")
    for name, changes in (("first", FIRST), ("second", SECOND)):
        sweeps.run(sweeps.small(**changes), root / name)
    return root / "first", root / "second"


def test_one_folder_has_a_table_for_each_epsilon(folders: tuple[Path, Path]) -> None:
    tables = robustness([Results(folders[0]).snapshot])
    assert [(table.norm, table.epsilon) for table in tables] == [("linf", 0.03), ("linf", 0.06)]
    rows = sweeps.rows(folders[0])
    accuracy = {victim.name: victim.accuracy for victim in Results(folders[0]).snapshot.victims}
    for table in tables:
        own = rows[[f'"epsilon":{table.epsilon}' in text for text in rows["parameters"]]]
        ones = table.lines[table.lines["attack"] != EVERY].to_dict("records")
        assert [line["victim"] for line in ones] == ["A", "B"]
        for line in ones:
            share = 1 - own.loc[own["model"] == line["model"], "success"].mean()
            assert line["correct"] == pytest.approx(100 * share) and line["images"] == 8
            assert line["all"] == pytest.approx(100 * share * accuracy[line["victim"]])
            assert line["accuracy"] == pytest.approx(100 * accuracy[line["victim"]])
            assert line["correct_lo"] <= line["correct"] <= line["correct_hi"]
            assert line["all_hi"] == pytest.approx(line["correct_hi"] * accuracy[line["victim"]])
    assert any(0 < line < 100 for table in tables for line in table.lines["correct"])


def test_the_worst_case_is_over_every_attack_of_all_folders(folders: tuple[Path, Path]) -> None:
    """Also a success of an attack in L2 counts within L∞, and images count that the lines' attacks share."""
    frame = robust(folders, norm="linf", epsilon=0.06)
    rows = pd.concat([sweeps.rows(folder) for folder in folders])
    rows = rows[rows["model"] == frame.loc[frame["victim"] == "A", "model"].iloc[0]]
    shared = set(rows.loc[rows["attack"] == "fmn", "image"])
    assert len(shared) == 6
    rows = rows[rows["image"].isin(shared)]
    broken = rows[rows["success"] & (rows["linf"] <= 0.06 * (1 + 1e-5))]
    lines = frame[frame["victim"] == "A"].set_index("attack")
    assert list(lines.index) == ["AutoAttack-Linf, epsilon 6e-2", "FMN-Linf", EVERY]
    assert lines.loc[EVERY, "correct"] == pytest.approx(100 * (1 - broken["image"].nunique() / 6))
    for name in ("fmn", "autoattack"):
        own = broken[(broken["attack"] == name) & (broken["norm"] == "linf")]
        own = own[[name == "fmn" or '"epsilon":0.06' in text for text in own["parameters"]]]
        line = next(label for label in lines.index if label.startswith("FMN" if name == "fmn" else "Auto"))
        assert lines.loc[line, "correct"] == pytest.approx(100 * (1 - own["image"].nunique() / 6))
    assert (lines["images"] == 6).all() and lines.loc[EVERY, "correct"] <= lines["correct"].min()
    ended = eadbench("robust", *folders, "--norm", "linf", "--epsilon", "3/50")
    assert (ended.code, ended.err) == (0, "") and "A: 2 more images that some attack has no row of." in ended.out


def test_minimum_norm_rows_tell_at_any_epsilon(folders: tuple[Path, Path]) -> None:
    shares = [robust([folders[1]], norm="linf", epsilon=e).set_index("attack") for e in (0.001, 0.03, 0.06, 1.0)]
    curve = [share.loc["FMN-Linf", "correct"] for share in shares]
    assert curve == sorted(curve, reverse=True) and curve[0] == 100 and curve[-1] == 0


def test_accuracy_stands_for_all_images_only_if_the_attacked_ones_are_a_sample(tmp_path: Path) -> None:
    images = {"indices": [*range(12)]}
    what = {"victims": VICTIMS[:1], "evaluate": EVALUATION | {"epsilon": 0.06}, "attacks": None}
    sweeps.run(sweeps.small(**what, images=images, targets="untargeted"), tmp_path / "chosen")
    [line] = robust([tmp_path / "chosen"]).to_dict("records")
    assert line["accuracy"] == pytest.approx(100 * line["images"] / 12)
    sweeps.run(sweeps.small(**what | {"victims": VICTIMS}, images={"count": 4, "correct_on": "all"}), tmp_path / "both")
    assert robust([tmp_path / "both"])[["accuracy", "all"]].isna().all(axis=None)
    for name, other in (("drawn", {"count": 4}), ("train", {"count": 4, "split": "train"})):
        sweeps.run(sweeps.small(**what, images=other, targets="untargeted"), tmp_path / name)
    mixed = robust([tmp_path / "chosen", tmp_path / "drawn"])
    assert mixed[["accuracy", "all"]].isna().all(axis=None)  # images of two kinds
    assert robust([tmp_path / "both", tmp_path / "drawn"]).query("victim == 'A'")["all"].isna().all()
    splits = robust([tmp_path / "drawn", tmp_path / "train"]).set_index("split")["accuracy"]
    for split, name in (("test", "drawn"), ("train", "train")):
        assert splits[split] == pytest.approx(100 * Results(tmp_path / name).snapshot.victims[0].accuracy)
    assert splits["test"] != splits["train"]


def test_folders_without_a_common_image_are_refused(tmp_path: Path) -> None:
    for name, changes, images in (("first", FIRST, range(4)), ("second", SECOND, range(20, 24))):
        given = changes | {"victims": VICTIMS[:1], "images": {"indices": [*images]}}
        sweeps.run(sweeps.small(**given), tmp_path / name)
    with pytest.raises(UserError, match=r"first, .*second: no image has rows of all attacks on a victim"):
        robust([tmp_path / "first", tmp_path / "second"])


def test_rules_of_one_run_share_its_passes(tmp_path: Path) -> None:
    attacks = [{"name": "ead", "beta": 1e-2, "max_iterations": 5, "binary_search_steps": 1, "initial_const": 10}]
    sweeps.run(sweeps.small(victims=VICTIMS[:1], images={"count": 3}, targets="untargeted", attacks=attacks), tmp_path)
    rows = sweeps.rows(tmp_path).query("decision_rule == 'l1'")
    line = robust([tmp_path], norm="l1", epsilon=1.0).set_index("attack").loc[EVERY]
    assert line["passes"] == pytest.approx((rows["iterations"] + rows["forward_passes"]).mean())


@pytest.mark.parametrize("format", ["table", "markdown", "csv", "latex"])
def test_formats(folders: tuple[Path, Path], format: str) -> None:
    ended = eadbench("robust", folders[0], "--epsilon", "0.03", "--format", format)
    assert (ended.code, ended.err) == (0, "")
    for text in ("AutoAttack", "worst case", "0.03"):
        assert text in ended.out
    if format == "csv":
        assert pd.read_csv(io.StringIO(ended.out))["epsilon"].eq(0.03).all()


def test_the_report_has_it_too(folders: tuple[Path, Path]) -> None:
    assert "Robust accuracy on digits, test split, within L∞ 0.06" in eadbench("report", folders[0]).out
    assert "Robust accuracy" not in eadbench("report", folders[1]).out
    some = eadbench("report", folders[0], "--only", "parameters.str.contains('0.06')").out
    assert "within L∞ 0.06" in some and "within L∞ 0.03" not in some and EVERY not in some


@pytest.mark.parametrize(
    ("which", "words", "message"),
    [
        (1, [], "epsilon: no attack of the sweeps ran at a fixed ε; give --norm and --epsilon"),
        (0, ["--epsilon", "0.5"], "epsilon: no attack of the sweeps ran at a fixed ε; give --norm and --epsilon"),
        (0, ["--norm", "l1", "--epsilon", "3"], "norm: no attack of the sweeps minimises this norm or runs at this ε"),
        (0, ["--epsilon", "8/0"], "--epsilon: must be a positive number or fraction, such as 0.3 or 8/255; got '8/0'"),
    ],
)
def test_mistakes(folders: tuple[Path, Path], which: int, words: list[str], message: str) -> None:
    assert refusal(eadbench("robust", folders[which], *words)) == message
