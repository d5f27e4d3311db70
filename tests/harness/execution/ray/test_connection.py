"""The folder of Ray's sockets."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from eadbench.harness.errors import EnvironmentFault
from eadbench.harness.execution.ray.connection import connect, sockets_folder


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({}, None),
        ({"TMPDIR": "/scratch/jobs/1"}, None),
        ({"TMPDIR": "/scratch/users/somebody/jobs/2026-11-26/1234567"}, "/tmp/ray"),
        ({"TMPDIR": "/scratch/users/somebody/jobs/2026-11-26/1234567", "RAY_TMPDIR": "/r"}, None),
        ({"RAY_TMPDIR": f"/{'κ' * 20}"}, "/tmp/ray"),
    ],
)
def test_a_long_path_is_replaced(environment: dict[str, str], folder: str | None) -> None:
    assert sockets_folder(environment) == folder


def test_without_any_short_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(EnvironmentFault, match="set RAY_TMPDIR"):
        sockets_folder({"TMPDIR": "/scratch" * 9})


@pytest.mark.cluster
def test_ray_starts_below_a_long_path(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    environment = {**os.environ, "TMPDIR": str(folder)}
    environment.pop("RAY_TMPDIR", None)
    command = (
        "import ray; from eadbench.harness.execution.ray.connection import connect; connect(None, []); ray.shutdown()"
    )
    subprocess.run([sys.executable, "-c", command], env=environment, check=True, timeout=120)


def test_ray_that_does_not_start_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/dev/null")
    with pytest.raises(EnvironmentFault, match=r"Ray did not start on this machine \(.*\); nothing is lost"):
        connect(None, [])
