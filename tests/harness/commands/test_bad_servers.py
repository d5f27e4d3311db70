"""Clusters and servers that are away, and secrets: one clear line, and no secret anywhere."""

import base64
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import eadbench, refusal
from tests.harness.commands.spec_files import content, spec_file
from tests.harness.tracking.tracking_server import TrackingServer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_is_not_there(scheme: str) -> None:
    address = f"{scheme}127.0.0.1:{free_port()}"
    ended = eadbench("run", spec_file(), "--address", address)
    assert ended.code == 1
    assert refusal(ended) == f"--address {address}: nothing answers there: [Errno 111] Connection refused"
    assert not Path("results").exists()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    """MLflow's own."""
    found = TrackingServer(tmp_path_factory.mktemp("mlflow"))
    yield found
    found.close()


SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG",
    "AWS_SESSION_TOKEN": "FwoGZXIvYXdzEBYaDHVz",
    "MLFLOW_S3_SECRET": "kT0pSecretOfTheStore",
    "GOOGLE_API_KEY": "AIzaSyD-9tSrke72PouQ",
}


def test_a_tracking_server_that_dies_midway_and_no_secret_anywhere(
    server: TrackingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:hunter2hunter2@127.0.0.1:{server.port}")
    spec = spec_file(attacks=[{"name": "fgm", "norm": ["l1", "l2", "linf"], "epsilons": [0.1, 1]}])
    server.left = 20  # one cell, and the half of another
    first = eadbench("run", spec, "--executor", "serial", "--results", "sweeps/small")
    assert first.code == 0 and server.left == 0
    assert "warning: cannot log to MLflow" in first.err and "`eadbench log sweeps/small` writes it later" in first.err
    assert len(list(Path("sweeps/small/examples").iterdir())) == 6

    still_away = eadbench("log", "sweeps/small")
    assert still_away.code == 1 and refusal(still_away).startswith("cannot log to MLflow at http://***@127.0.0.1")

    server.left = None
    later = eadbench("log", "sweeps/small")
    assert later.code == 0 and "1 invocations, 2 cells written, 1 were there" in later.out
    again = eadbench("log", "sweeps/small")
    assert "0 cells written, 3 were there" in again.out

    user = base64.b64encode(b"me:hunter2hunter2").decode()
    assert server.users == {f"Basic {user}"}  # the password is in use
    printed = "".join(part for ended in (first, still_away, later, again) for part in (ended.out, ended.err))
    written = {**content(tmp_path), **content(server.folder), "printed": printed.encode()}
    assert b"FGM-L1" in written["mlflow.db"] and any(name.endswith("table.csv") for name in written)
    for secret in (*SECRETS.values(), "hunter2hunter2", user):
        assert not [name for name, held in written.items() if secret.encode() in held], secret


def test_a_secret_in_a_spec_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    spec = spec_file(victims=[{"arch": "digits", "weights": "https://me:hunter2hunter2@host/w.pt"}])
    ended = eadbench("run", spec, "--executor", "serial")
    assert ended.code == 2
    assert refusal(ended).startswith("spec.yaml: victims[0].weights: must not hold a user, a password or a token")
    assert "hunter2hunter2" not in ended.out + ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["spec.yaml"]
