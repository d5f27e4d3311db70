"""A cluster that `ray start` starts on this machine, with a token."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BIN", "Cluster", "started_cluster"]

BIN = Path(sys.executable).parent

PORTS = (
    *("port", "dashboard-port", "metrics-export-port", "ray-client-server-port", "dashboard-agent-listen-port"),
    *("dashboard-agent-grpc-port", "runtime-env-agent-port", "node-manager-port", "object-manager-port"),
)
"""Options of `ray start` for ports; its own choices may be taken by another cluster on this machine."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster on this machine; its token is in `environment`."""

    environment: dict[str, str]
    ports: dict[str, int]

    def url(self, port: str, path: str = "") -> str:
        return f"http://127.0.0.1:{self.ports[port]}{path}"


@contextmanager
def started_cluster() -> Iterator[Cluster]:
    """Start a cluster of one node, and end it."""
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
