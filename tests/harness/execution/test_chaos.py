"""Workers and drivers are killed and nodes removed, and the rows stay the same; `benchmarks/chaos.py` does more."""

from pathlib import Path

import pytest

from benchmarks.chaos import chaos
from benchmarks.faults import Asked

pytestmark = pytest.mark.cluster


def test_rows_are_those_of_an_undisturbed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    asked = Asked(
        size=2, workers=(1, 2), shards=12, kills=2, nodes=1, drivers=1, full_disk=False, epochs=8, iterations=60
    )
    counts, right = chaos(asked, tmp_path)
    assert right, counts
    faults = {"workers killed": 2, "drivers killed": 1, "nodes removed": 1, "nodes added": 1, "runs": 2}
    assert {name: counts[name] for name in faults} == faults
    assert counts["equal files in examples"] == 24 and counts["equal files in images"] == 12
    assert counts["rows"] == 360 and counts["rows twice"] == 0
