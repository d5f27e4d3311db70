"""A sweep submitted as a job to a cluster that `ray start` has started, with a token."""

import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.deploy.test_deploy import metrics_drawn
from tests.ray_cluster import BIN, Cluster, started_cluster

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with started_cluster() as cluster:
        yield cluster


SPEC = """
name: tiny
dataset: {name: digits}
images: {count: 3}
victims: [{arch: digits, training: {epochs: 2, batch_size: 32, learning_rate: 3e-3}}]
attacks: [{name: "mine:Stumbling", place: PLACE}]
shard_size: 9
resources: {workers: 1}
"""

MINE = '''
import time
from dataclasses import dataclass
from pathlib import Path

from eadbench.attacks import FGM


@dataclass(frozen=True, kw_only=True)
class Stumbling:
    """An attack that fails the first time, and is slow."""

    place: str
    targeted: bool = True
    most_passes = 3

    def __call__(self, model, images, targets, *, batch_size):
        time.sleep(1.2)
        if not Path(self.place).exists():
            Path(self.place).touch()
            raise RuntimeError("it stumbled")
        return FGM(norm="linf", epsilons=[0.5])(model, images, targets, batch_size=batch_size)
'''


def test_a_job_runs_a_sweep_with_code_of_its_own(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "tiny.yaml").write_text(SPEC.replace("PLACE", str(tmp_path / "stumbled")))
    (tmp_path / "job" / "mine.py").write_text(MINE)
    sweep = ["eadbench", "run", "tiny.yaml", "--address", "auto", "--results", str(tmp_path / "results")]
    job = ["--address", cluster.url("dashboard-port"), "--working-dir", str(tmp_path / "job")]
    metrics: dict[str, float] = {}
    with (tmp_path / "log").open("w") as log:
        submitted = subprocess.Popen(
            [BIN / "ray", "job", "submit", *job, "--", *sweep],
            env=cluster.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        while submitted.poll() is None:
            metrics |= scraped(cluster)
            time.sleep(0.6)
    output = (tmp_path / "log").read_text()
    assert submitted.returncode == 0, output
    assert "is tried again after worker-1: RuntimeError: it stumbled" in output
    rows = pd.read_parquet(tmp_path / "results" / "examples")
    assert len(rows) == 3 * 9 and set(rows["attack"]) == {"mine:Stumbling"}

    names = {series.partition("{")[0] for series in metrics}
    elsewhere = {name for name in metrics_drawn() if name.startswith(("autoscaler_", "ray_node_g"))}  # GPUs, a cloud
    assert metrics_drawn() - elsewhere - {"ray_eadbench_set_aside_total"} <= names
    counted = {
        outcome: sum(value for series, value in metrics.items() if counts_examples(series, outcome))
        for outcome in ("success", "failure")
    }
    assert counted["success"] <= rows["success"].sum() and counted["failure"] <= (~rows["success"]).sum()
    assert sum(counted.values()) in (18, 27), "a worker that ends may take the count of its last shard with it"
    assert sum(value for series, value in metrics.items() if series.startswith("ray_eadbench_retries_total")) == 1


def scraped(cluster: Cluster) -> dict[str, float]:
    """Read the cluster's Prometheus endpoint: values by series."""
    try:
        with urllib.request.urlopen(cluster.url("metrics-export-port", "/metrics"), timeout=10) as answer:
            lines = answer.read().decode().splitlines()
    except urllib.error.URLError:  # it has not started yet
        return {}
    return {
        series: float(value) for line in lines if not line.startswith("#") for series, value in [line.rsplit(" ", 1)]
    }


def counts_examples(series: str, outcome: str) -> bool:
    return bool(re.match(rf'ray_eadbench_examples_total{{.*attack="mine:Stumbling".*outcome="{outcome}"', series))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({}, "asks for a token"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64}, "takes another token than the one that is set here"),
    ],
)
def test_without_its_token_a_driver_says_so_at_once(
    cluster: Cluster, tmp_path: Path, settings: dict[str, str], problem: str
) -> None:
    address = f"127.0.0.1:{cluster.ports['port']}"
    (tmp_path / "tiny.yaml").write_text(SPEC.replace('"mine:Stumbling", place: PLACE', "fgm, norm: l2"))
    environment = {name: value for name, value in cluster.environment.items() if "AUTH" not in name}
    ended = subprocess.run(
        [BIN / "eadbench", "run", "tiny.yaml", "--address", address],
        cwd=tmp_path,
        env=environment | settings | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 1
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("still ")]
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith(f"error: --address {address}: the cluster {problem}; `ray get-auth-token` on its head")


def test_who_has_no_token_runs_nothing(cluster: Cluster) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(cluster.url("dashboard-port", "/api/jobs/"), timeout=10)
