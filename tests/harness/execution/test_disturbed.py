"""Drivers killed at points of a run, two at once, and a store that fails writes; `benchmarks/chaos.py` does more."""

import signal
import time
from pathlib import Path

import pytest
import yaml

from benchmarks.equal import differences
from benchmarks.flaky_store import WAYS, FlakyStore
from benchmarks.points import Point
from benchmarks.rivals import refused
from benchmarks.tiny import SPEC, Sweep
from eadbench.harness import spec
from eadbench.harness.errors import EadbenchError
from eadbench.harness.storage import located
from tests.harness.commands.spec_files import content
from tests.sweeps import run

SEED = 3
"""The first write of a store with this seed is cut off after it."""
KILLS = (
    Point(name="models/*/checkpoint.safetensors", number=2),
    Point(name="examples/*.parquet"),
    Point(name="examples/*-*.parquet", number=2),
    Point(name="report/report.html"),
    Point(name="mlflow log_inputs"),
)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an undisturbed driver leaves."""
    sweep = Sweep(tmp_path_factory.mktemp("undisturbed") / "work")
    sweep.end()
    return sweep.folder


def test_drivers_that_are_killed_or_beside_others_lose_nothing(reference: Path, tmp_path: Path) -> None:
    """Each goes on from what the last one left, and is killed a little later; the last one has a rival."""
    sweep = Sweep(tmp_path / "work")
    for point in KILLS:
        sweep.end(point=point, code=-signal.SIGKILL)
    last = sweep.start(point=Point(name="mlflow set_terminated"), stop=signal.SIGSTOP)
    while not last.stop_reached():
        time.sleep(0.05)
    before = content(sweep.results)
    for changes in ((), ("--set", "images={count: 1}")):
        assert refused(sweep.start(*changes, log="rival.log"))
        assert content(sweep.results) == before
    last.go_on()
    assert last.wait() == 0
    assert differences(sweep.folder, reference) == []


def test_a_store_that_fails_half_of_the_writes_loses_nothing(
    reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among them the first, the owner's: it is written, and the answer is lost."""
    what = spec.parse(yaml.safe_load(SPEC))
    with FlakyStore(share=0.5, seed=SEED) as store:
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        for _ in range(20):
            try:
                if not run(what, located("s3://sweeps/tiny")).failures:
                    break
            except (EadbenchError, OSError) as error:
                assert "works in this folder" not in str(error)
        assert min(store.counts[way] for way in WAYS) > 0
        store.download("tiny", tmp_path)
    for part in ("examples", "images", "models"):
        assert content(tmp_path / part) == content(reference / "results" / part)
