"""A sweep gives the same rows with any executor, runs nothing twice, and continues where it stopped."""

import errno
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from torch import Tensor, nn

from eadbench.attacks import FGM, AttackResult
from eadbench.harness.errors import EnvironmentFault
from eadbench.harness.frames import Results
from eadbench.harness.parquet.rows import SCHEMA
from tests.sweeps import rows, run, small

DISTANCES = ["l0", "l1", "l2", "linf", "margin"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the small sweep in this process."""
    folder = tmp_path_factory.mktemp("finished") / "small"
    run(small(), folder)
    return folder


@dataclass(frozen=True, kw_only=True)
class Fragile:
    """An attack that fails while the file `trap` exists."""

    trap: str
    targeted: bool = True
    most_passes = 3

    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor, *, batch_size: int) -> AttackResult:
        if Path(self.trap).exists():
            raise RuntimeError("the trap is there")
        return FGM(norm="linf", epsilons=[0.5])(model, images, targets, batch_size=batch_size)


@dataclass(frozen=True, kw_only=True)
class Full:
    """An attack that reports a full disk after a number of shards."""

    allowed: int
    count: str
    targeted: bool = True
    most_passes = 3

    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor, *, batch_size: int) -> AttackResult:
        with Path(self.count).open("a+") as file:
            file.write("x")
            if file.tell() > self.allowed:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return FGM(norm="linf", epsilons=[0.5])(model, images, targets, batch_size=batch_size)


class TestRows:
    def test_columns_are_the_contract(self, finished: Path) -> None:
        assert list(rows(finished).columns) == SCHEMA.names

    def test_every_cell_is_described(self, finished: Path) -> None:
        cells = json.loads((finished / "cells.json").read_text())
        frame = rows(finished).drop_duplicates("cell").set_index("cell")
        assert set(cells) == set(frame.index)
        for digest, cell in cells.items():
            row = frame.loc[digest]
            assert (cell["victim"], cell["attack"], cell["targets"]) == (row["model"], row["attack"], "all")
            assert cell["beta"] == (None if pd.isna(row["beta"]) else row["beta"])

    def test_one_row_per_example_and_rule(self, finished: Path) -> None:
        examples = 3 * 9
        frame = rows(finished)
        counts = frame.groupby(["attack", "norm", "decision_rule", "beta"], dropna=False).size()
        assert set(counts) == {examples}
        assert len(counts) == 1 + 2 + 1 + 2 * 2
        assert len(frame.drop_duplicates(["cell", "image", "target"])) == len(frame)

    def test_failures_have_no_distances(self, finished: Path) -> None:
        frame = rows(finished)
        assert 0 < frame["success"].sum() < len(frame)
        assert frame.loc[~frame["success"], [*DISTANCES, "const", "epsilon"]].isna().all(axis=None)
        assert frame.loc[frame["success"], DISTANCES].notna().all(axis=None)
        assert (frame.loc[frame["success"], "margin"] > 0).all()
        assert (frame.loc[frame["success"], "l1"] > 0).all()

    def test_columns_without_a_meaning_are_null(self, finished: Path) -> None:
        frame = rows(finished)
        searched = frame["attack"].isin(["cw", "ead"])
        assert (frame["beta"].notna() == (frame["attack"] == "ead")).all()
        assert (frame["decision_rule"].notna() == (frame["attack"] == "ead")).all()
        assert (frame["norm"].notna() == ~searched).all()
        assert (frame["epsilon"].notna() == (frame["success"] & ~searched)).all()
        assert (frame["const"].notna() == (frame["success"] & searched)).all()
        assert frame["temperature"].isna().all()

    def test_targets_are_every_incorrect_class(self, finished: Path) -> None:
        for (_, label), part in rows(finished).groupby(["image", "label"]):
            assert set(part["target"]) == set(range(10)) - {label}

    def test_untargeted_rows_have_no_target(self, tmp_path: Path) -> None:
        run(small(targets="untargeted"), tmp_path / "untargeted")
        frame = rows(tmp_path / "untargeted")
        assert frame["target"].isna().all()
        assert len(frame) == 3 * (1 + 2 + 1 + 2 * 2)
        assert frame["success"].mean() > 0.5
        assert run(small(targets="untargeted"), tmp_path / "untargeted").nothing

    def test_a_row_names_its_shard_and_its_record(self, finished: Path) -> None:
        for shard, part in rows(finished).groupby("shard"):
            record = json.loads((finished / "shards" / f"{shard}.json").read_text())
            assert record["examples"] == len(part.drop_duplicates(["image", "target", "beta"]))
            assert record["threads"] == 1 and record["seconds"] > 0
            spent = part.drop_duplicates(["image", "target", "beta"])["iterations"].sum()
            assert record["gradient_evaluations"] == spent


class TestEverySizeGivesTheSameRows:
    """For Ray, see tests/harness/execution/test_studies.py."""

    @pytest.mark.parametrize("sizes", [{"shard_size": 7, "batch_size": 5}, {"batch_size": "auto"}], ids=str)
    def test_other_sizes_to_rounding(self, finished: Path, tmp_path: Path, sizes: dict[str, object]) -> None:
        run(small(**sizes), tmp_path / "other")
        ours, theirs = rows(tmp_path / "other", without=["shard"]), rows(finished, without=["shard"])
        exact = [name for name in ours if name not in DISTANCES]
        pd.testing.assert_frame_equal(ours[exact], theirs[exact], check_exact=True)
        for name in DISTANCES:
            np.testing.assert_allclose(ours[name].astype(float), theirs[name].astype(float), rtol=2e-3, atol=1e-4)


class TestPrecision:
    def test_is_recorded_and_successes_hold_in_float32(self, tmp_path: Path) -> None:
        folder = tmp_path / "bf16"
        what = small(precision="bf16", attacks=[{"name": "ifgm", "norm": "linf", "epsilons": [0.1, 0.2, 0.4]}])
        done = run(what, folder)
        [*records] = [json.loads(path.read_text()) for path in (folder / "shards").glob("*.json")]
        assert {record["precision"] for record in records} == {"bf16"}
        assert sum(sum(record["unconfirmed"].values()) for record in records) == done.unconfirmed
        frame = rows(folder)
        assert frame["success"].any() and (frame.loc[frame["success"], "margin"] > 0).all()


class TestContinuing:
    def test_a_finished_sweep_has_nothing_to_do(self, finished: Path) -> None:
        before = {path: path.stat().st_mtime_ns for path in (finished / "examples").iterdir()}
        assert run(small(), finished).nothing
        assert {path: path.stat().st_mtime_ns for path in (finished / "examples").iterdir()} == before

    def test_an_interrupted_sweep_continues(self, finished: Path, tmp_path: Path) -> None:
        run(small(), tmp_path / "cut")
        lost = sorted((tmp_path / "cut" / "examples").iterdir())[::2]
        for part in lost:
            part.unlink()
        (tmp_path / "cut" / "examples" / f".{lost[0].name}.1.tmp").write_text("half a part")
        done = run(small(), tmp_path / "cut")
        assert (done.victims, done.shards) == (0, len(lost))
        pd.testing.assert_frame_equal(rows(tmp_path / "cut"), rows(finished), check_exact=True)

    def test_a_changed_spec_runs_what_is_new(self, tmp_path: Path) -> None:
        folder = tmp_path / "grown"
        run(small(), folder)
        more = small(
            images={"count": 4},
            attacks=[{"name": "ead", "beta": [1e-3, 1e-2, 0.1], "binary_search_steps": 4, "max_iterations": 30}],
        )
        done = run(more, folder)
        assert done.examples == 4 * 9 * 3 - 3 * 9 * 2
        assert len(rows(folder)) == 4 * 9 * 3 * 2
        assert run(more, folder).nothing
        assert run(small(), folder).nothing
        assert set(rows(folder)["attack"]) == {"cw", "fgm", "ifgm", "ead"}

    def test_a_changed_recipe_shares_no_row(self, finished: Path, tmp_path: Path) -> None:
        other = small(victims=[{"arch": "digits", "training": {"epochs": 4, "batch_size": 32, "seed": 1}}])
        run(other, tmp_path / "other")
        assert not set(rows(tmp_path / "other")["cell"]) & set(rows(finished)["cell"])


class TestFaults:
    def attacks(self, trap: Path) -> list[dict[str, object]]:
        return [
            {"name": "tests.harness.execution.test_sweep:Fragile", "trap": str(trap)},
            {"name": "fgm", "norm": "linf", "epsilons": [0.5]},
        ]

    def test_a_failed_shard_leaves_the_others(self, tmp_path: Path) -> None:
        trap = tmp_path / "trap"
        trap.touch()
        what, folder = small(attacks=self.attacks(trap)), tmp_path / "faulty"
        done = run(what, folder)
        assert [failure.reason for failure in done.failures] == ["RuntimeError: the trap is there"] * 2
        assert done.shards == 2
        assert set(rows(folder)["attack"]) == {"fgm"}
        assert len(list(folder.glob("failures/*.json"))) == 2
        trap.unlink()
        again = run(what, folder)
        assert (again.shards, again.failures) == (2, [])
        assert not list(folder.glob("failures/*.json"))

    def test_a_full_disk_ends_the_sweep_and_loses_nothing(self, tmp_path: Path) -> None:
        full = [{"name": "tests.harness.execution.test_sweep:Full", "allowed": 1, "count": str(tmp_path / "count")}]
        what, folder = small(attacks=full), tmp_path / "full"
        with pytest.raises(EnvironmentFault, match="No space left on device; what is done stays"):
            run(what, folder)
        assert len(list(folder.glob("examples/*.parquet"))) == 1
        (tmp_path / "count").unlink()
        assert run(what, folder).shards == 1

    def test_rows_that_are_no_rows(self, finished: Path, tmp_path: Path) -> None:
        run(small(attacks=self.attacks(tmp_path / "none")), tmp_path / "broken")
        next((tmp_path / "broken" / "examples").iterdir()).write_text("not parquet")
        with pytest.raises(Exception, match="not the rows of a sweep"):
            Results(tmp_path / "broken").rows()
