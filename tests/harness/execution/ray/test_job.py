"""A sweep submitted as a job to a cluster that `ray start` has started, with a token."""

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from tests.deploy.test_deploy import metrics_drawn

pytestmark = pytest.mark.cluster

BIN = Path(sys.executable).parent

PORTS = (
    *("port", "dashboard-port", "metrics-export-port", "ray-client-server-port", "dashboard-agent-listen-port"),
    *("dashboard-agent-grpc-port", "runtime-env-agent-port", "node-manager-port", "object-manager-port"),
)
"""Options of `ray start` for ports; its own choices may be taken by another cluster on this machine."""

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


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster on this machine; its token is in `environment`."""

    environment: dict[str, str]
    ports: dict[str, int]

    def url(self, port: str, path: str = "") -> str:
        return f"http://127.0.0.1:{self.ports[port]}{path}"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="job"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "ray").mkdir()
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "RAY"))} | {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_TMPDIR": str(folder),
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_metrics_report_interval_ms": "1000",
            "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",  # making a store takes long and is not tested here
        }
        for attempt in range(3):  # on a busy machine a node may not start within the 30 seconds that Ray gives it
            started = Cluster(environment=environment, ports=free_ports())
            if start(started, folder / f"{attempt}.log", stack):
                yield started
                return
        raise AssertionError((folder / "2.log").read_text())


def free_ports() -> dict[str, int]:
    with ExitStack() as stack:
        sockets = {name: stack.enter_context(socket.socket()) for name in PORTS}
        for one in sockets.values():
            one.bind(("127.0.0.1", 0))
        return {name: one.getsockname()[1] for name, one in sockets.items()}


def start(cluster: Cluster, log: Path, stack: ExitStack) -> bool:
    """Start a head that ends with `stack`. Return whether it has started."""
    ports = [f"--{name}={port}" for name, port in cluster.ports.items()]
    here = ["--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", "--num-cpus=1", "--num-gpus=0"]
    with log.open("w") as file:
        process = subprocess.Popen(
            [BIN / "ray", "start", "--head", "--block", *here, *ports],
            env=cluster.environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    while "Ray runtime started" not in log.read_text():
        if process.poll() is not None:
            return False
        time.sleep(0.2)
    stack.callback(process.wait, timeout=90)
    stack.callback(process.terminate)
    return True


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


def test_who_has_no_token_runs_nothing(cluster: Cluster) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(cluster.url("dashboard-port", "/api/jobs/"), timeout=10)
