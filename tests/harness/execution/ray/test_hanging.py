"""Tasks that hang: the worker is replaced, and the shard runs again or is set aside."""

import ctypes
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest
from torch import Tensor, nn

from eadbench.attacks import FGM, AttackResult
from eadbench.harness.results.folder import Results
from tests.sweeps import rows, run, small

ATTACK = "tests.harness.execution.ray.test_hanging:Hanging"


@dataclass(frozen=True, kw_only=True)
class Hanging:
    """An attack that hangs as often as it has ways to, and then is FGM."""

    place: str
    ways: tuple[Literal["python", "c"], ...] = ()
    targeted: bool = True
    most_passes = 3

    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor, *, batch_size: int) -> AttackResult:
        begun = len(list(Path(self.place).iterdir())) if self.ways else 0
        if begun < len(self.ways):
            (Path(self.place) / str(begun)).touch()
            while self.ways[begun] == "python":
                time.sleep(0.01)
            ctypes.PyDLL(None).sleep(3600)  # holds the interpreter's lock
        return FGM(norm="linf", epsilons=[0.5])(model, images, targets, batch_size=batch_size)


@pytest.mark.parametrize(
    ("ways", "failures"), [(["c"], 0), pytest.param(["c", "python", "c"], 1, marks=pytest.mark.cluster)]
)
def test_a_shard_that_hangs_counts_failures(tmp_path: Path, ways: list[str], failures: int) -> None:
    (tmp_path / "place").mkdir()
    run(small(attacks=[{"name": ATTACK, "place": ""}], images={"count": 1}), tmp_path / "ray")  # makes the victim
    what = {"name": ATTACK, "place": str(tmp_path / "place"), "ways": ways}
    done = run(
        small(attacks=[what], images={"count": 1}, shard_size=9, resources={"timeout": 15}),
        tmp_path / "ray",
        ray_workers=1,
    )
    assert len(list((tmp_path / "place").iterdir())) == len(ways)
    assert len(done.failures) == failures and done.shards == 1 - failures and not done.victims
    if failures:
        [failed] = Results(tmp_path / "ray").failures.iterdir()
        content = json.loads(failed.read_text())
        assert "no result after 15 s" in content["error"] and "resources.timeout" in content["error"]
        assert len(set(content["workers"])) == 3
    else:
        run(small(attacks=[what], images={"count": 1}, shard_size=9), tmp_path / "here")
        pd.testing.assert_frame_equal(rows(tmp_path / "ray"), rows(tmp_path / "here"), check_exact=True)
