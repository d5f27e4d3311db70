"""Robust accuracy at a fixed ε, sharded: the same rows with any workers and after a driver was killed."""

import signal
from pathlib import Path

import pandas as pd
import pytest
import yaml

from benchmarks.points import Point
from benchmarks.tiny import Sweep
from eadbench.harness import spec
from tests.sweeps import rows, run

SPEC = """
name: evaluated
dataset: {name: digits}
images: {count: 9}
victims: [{arch: digits, training: {epochs: 4, batch_size: 32, learning_rate: 3e-3}}]
evaluate:
  - {norm: linf, epsilon: 8/255, steps: 8, queries: 60}
  - {norm: l2, epsilon: 1/4, steps: 8, queries: 60, ensemble: [square, fab-t]}
shard_size: 4
batch_size: 3
"""


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the evaluation in this process."""
    folder = tmp_path_factory.mktemp("serial") / "evaluated"
    run(spec.parse(yaml.safe_load(SPEC)), folder)
    return folder


def test_rows_say_what_broke_an_image_and_what_it_cost(evaluated: Path) -> None:
    frame = rows(evaluated)
    assert len(frame) == 18 and frame["shard"].nunique() == 6
    broken = frame["success"]
    assert broken.groupby(frame["norm"]).nunique().tolist() == [2, 2], "some images break and some stand"
    assert (frame["found_by"].notna() == broken).all()
    by_norm = frame[broken].groupby("norm")["found_by"].unique()
    assert set(by_norm["linf"]) <= {"apgd-ce", "apgd-t", "fab-t", "square"} and set(by_norm["l2"]) <= {
        "square",
        "fab-t",
    }
    spent = (frame["iterations"] + frame["forward_passes"]).astype(float)
    assert spent[broken].max() < spent[~broken].min(), "passes are spent on images that stand"
    limits = frame["norm"].map({"linf": 8 / 255, "l2": 0.25})
    lengths = frame["linf"].where(frame["norm"] == "linf", frame["l2"])
    assert (lengths[broken] <= limits[broken] * (1 + 1e-5)).all()


def test_two_workers_give_the_rows_of_this_process(evaluated: Path, tmp_path: Path) -> None:
    run(spec.parse(yaml.safe_load(SPEC)), tmp_path / "ray", ray_workers=2)
    pd.testing.assert_frame_equal(rows(tmp_path / "ray"), rows(evaluated), check_exact=True)


def test_a_driver_that_is_killed_loses_a_shard_at_most(evaluated: Path, tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "work")
    (sweep.folder / "spec.yaml").write_text(SPEC)
    sweep.end(point=Point(name="examples/*.parquet", number=3), code=-signal.SIGKILL)
    kept = {path.name: path.read_bytes() for path in sweep.results.glob("examples/[!.]*.parquet")}
    assert 2 <= len(kept) < 6
    run(spec.parse(yaml.safe_load(SPEC)), sweep.results)
    assert all((sweep.results / "examples" / name).read_bytes() == content for name, content in kept.items())
    pd.testing.assert_frame_equal(rows(sweep.results), rows(evaluated), check_exact=True)
