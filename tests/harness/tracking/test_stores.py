"""Where MLflow's records go: a default store, a server, and stores that cannot be reached."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from eadbench.harness.errors import EnvironmentFault, TrackingFault
from eadbench.harness.messages import redact
from eadbench.harness.tracking import store as stores
from eadbench.harness.tracking.store import open_store
from eadbench.harness.tracking.uri import default_tracking_uri, page_command
from tests import tracking_store
from tests.harness.tracking.sample_records import a_sweep, a_victim, children, client, log_sweep, models_of, runs_of


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A real MLflow server with one worker on the loopback interface; the test may stop it."""
    folder = tmp_path_factory.mktemp("server")
    tracking_store.make_store(folder / "mlflow.db")
    port = free_port()
    options = {
        "--backend-store-uri": f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination": str(folder / "artifacts"),
        "--host": "127.0.0.1",
        "--port": str(port),
        "--workers": "1",
    }
    command = [sys.executable, "-m", "mlflow", "server", *(word for pair in options.items() for word in pair)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=log,
            stderr=log,
            env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            start_new_session=True,
        )
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}", process, folder / "log")
        yield f"http://127.0.0.1:{port}", process
    finally:
        stop(process)


def wait_until_healthy(uri: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{uri}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    pytest.fail(f"the MLflow server did not start:\n{log.read_text()}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the server together with its workers, which are its own process group."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


FRESH = """
import sys
from pathlib import Path
from tests.harness.tracking.sample_records import a_sweep
from eadbench.harness.tracking import log_sweep
from eadbench.harness.tracking.store import open_store
from eadbench.harness.tracking.uri import default_tracking_uri
assert "mlflow" not in sys.modules, "imported before it is needed"
log_sweep(a_sweep("fresh"), default_tracking_uri(Path("results")), Path("results"))
"""


def test_two_processes_with_a_fresh_default_store_say_nothing_and_leave_the_folder_clean(
    tmp_path: Path,
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[3])
    code = FRESH.replace('"results"', repr(str(tmp_path / "out" / "results")))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=here,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        said, _ = process.communicate(timeout=120)
        assert (process.returncode, said) == (0, "")
    assert list(here.iterdir()) == []
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "mlflow.db",
        "mlflow.db.lock",
        "mlartifacts",
    }
    uri = f"sqlite:///{tmp_path / 'out' / 'mlflow.db'}"
    logged = log_sweep(a_sweep("fresh"), uri)
    assert (logged.cells_written, runs_of(uri, logged)) == (0, 1 + 6)


KILLED = """
import itertools, os, signal, sys
from eadbench.harness.tracking.store import open_store
from sqlalchemy import Engine, event
counter = itertools.count()

@event.listens_for(Engine, "after_cursor_execute")
def kill(connection, cursor, statement, *_):
    if statement.split()[0] in ("CREATE", "ALTER", "UPDATE", "INSERT") and next(counter) == 20:
        os.kill(os.getpid(), signal.SIGKILL)

with open_store(sys.argv[1], print) as client:
    client.search_experiments()
"""


def test_a_store_whose_making_was_killed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow itself refuses a store with some of its tables for ever."""
    monkeypatch.setattr(stores, "_create", tracking_store.CREATE)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    killed = subprocess.run([sys.executable, "-c", KILLED, uri], capture_output=True, text=True, timeout=200)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with open_store(uri, print) as store:
        assert [experiment.name for experiment in store.search_experiments()] == ["Default"]
    assert [path.name for path in tmp_path.glob("*.new")] == []


def test_default_store_is_beside_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert default_tracking_uri(Path("results")) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert default_tracking_uri(Path("results")) == "http://tracking:5000"


def test_a_server_is_logged_to_and_its_loss_costs_seconds_and_no_cell(
    server: tuple[str, subprocess.Popen[bytes]],
    store: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A busy machine may take more than the default 10 s; a stopped server refuses at once.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    uri, process = server
    # A server without authentication ignores these; they must show up nowhere.
    uri = uri.replace("http://", "http://someone:s3cret@")
    curve = {"average.l1 over kappa/EAD L1": [(0, 1.5), (10, 2.5)]}
    whole = a_sweep("served", victims=[a_victim(tmp_path)], files={"figures/a.png": tmp_path / "a.png"}, curves=curve)
    (tmp_path / "a.png").write_bytes(b"PNG")
    log_sweep(replace(whole, cells=whole.cells[:4], finished=False), uri, tmp_path)
    logged = log_sweep(whole, uri, tmp_path)
    assert (logged.cells_written, logged.cells_found) == (2, 4)
    assert len(children(uri, logged)) == 6
    artifacts = [entry.path for entry in client(uri).list_artifacts(logged.run_id)]
    assert artifacts == ["figures", "spec.yaml", "table.csv", "table.json", "table.md"]
    assert len(client(uri).get_metric_history(logged.run_id, *curve)) == 2
    [model] = models_of(uri, logged)
    assert (str(model.status), len(model.metrics)) == ("READY", 2)
    held = client(uri).list_logged_model_artifacts(model.model_id, "data")
    assert [entry.path for entry in held] == ["data/recipe.json", "data/weights.safetensors"]

    stop(process)
    start = time.monotonic()
    with pytest.raises(TrackingFault) as fault:
        log_sweep(whole, uri, tmp_path)
    assert time.monotonic() - start < 20
    assert "127.0.0.1" in str(fault.value)
    assert "s3cret" not in str(fault.value)
    assert capfd.readouterr() == ("", "")

    elsewhere = log_sweep(whole, store, tmp_path)
    assert (elsewhere.cells_written, elsewhere.cells_found) == (6, 0)


def test_a_server_that_never_answers_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # Twice could make two runs: the first request may have been served after all.
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(TrackingFault, match="timed out"):
            log_sweep(a_sweep("silence"), f"http://127.0.0.1:{silent.getsockname()[1]}")
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


@pytest.mark.parametrize(
    "uri",
    [
        pytest.param("http://someone:s3cret@127.0.0.1:{port}", id="nobody-listens"),
        pytest.param("http://someone:s3cret@host.invalid:5000", id="no-such-host"),
        pytest.param("sqlite:///{file}/below/mlflow.db", id="folder-is-a-file"),
        pytest.param("sqlite:///{file}", id="not-a-database"),
        pytest.param("postgresql://someone:s3cret@127.0.0.1:{port}/mlflow", id="database-is-down"),
        pytest.param("nonsense://someone:s3cret@host", id="unknown-scheme"),
    ],
)
def test_what_cannot_be_reached_is_one_line_within_seconds(uri: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("this is no database\n" * 100)
    uri = uri.format(port=free_port(), file=tmp_path / "file")
    start = time.monotonic()
    with pytest.raises(EnvironmentFault) as fault:
        log_sweep(a_sweep("unreachable"), uri)
    assert time.monotonic() - start < 20
    message = str(fault.value)
    assert message.startswith(f"cannot log to MLflow at {redact(uri)}: ")
    assert "\n" not in message
    assert not re.search("s3cret|someone", message)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("http://host:5000", "http://host:5000"),
        ("http://user:pass@host:5000/path", "http://***@host:5000/path"),
        ("https://token@host", "https://***@host"),
        ("postgresql+psycopg2://user:p@ss@host/db", "postgresql+psycopg2://***@host/db"),
        ("postgresql://user:p/a@host/db", "postgresql://***@host/db"),
        ("postgresql://host/db?user=a&password=pass&x=1", "postgresql://host/db?user=a&password=***&x=1"),
        ("sqlite:////folder/with@sign/mlflow.db", "sqlite:////folder/with@sign/mlflow.db"),
        ("databricks://profile", "databricks://profile"),
        (
            "GET http://user:pass@a/x failed, as did http://user:pass@b",
            "GET http://***@a/x failed, as did http://***@b",
        ),
        ("write to me@example.com", "write to me@example.com"),
        ("https://h/k?X-Amz-Signature=a1&x=1", "https://h/k?X-Amz-Signature=***&x=1"),
        ("https://h/k?X-Amz-Credential=a/b", "https://h/k?X-Amz-Credential=***"),
        ("s3://b/k?AWSAccessKeyId=A&Signature=z", "s3://b/k?AWSAccessKeyId=***&Signature=***"),
        ("https://h/k?sv=1&sig=a%2Fb", "https://h/k?sv=1&sig=***"),
        ("https://h/?api_key=a&apikey=b&key=c&auth=d", "https://h/?api_key=***&apikey=***&key=***&auth=***"),
        ("https://h/#access_token=a&x=1", "https://h/#access_token=***&x=1"),
        ("sqlserver://h:1433;user=a;password=b;x=1", "sqlserver://h:1433;user=a;password=***;x=1"),
        ("https://h/?keyword=a&author=b&monkey=c", "https://h/?keyword=a&author=b&monkey=c"),
        ("https://h/?subscription-key=a&AccountKey=b&x=c", "https://h/?subscription-key=***&AccountKey=***&x=c"),
        (
            "https://h/?jwt=a&pass=b&Authorization=c&bearer=d",
            "https://h/?jwt=***&pass=***&Authorization=***&bearer=***",
        ),
        ("https://h/?%73ig=a&sessionid=b&hmac=c&sas=d", "https://h/?%73ig=***&sessionid=***&hmac=***&sas=***"),
    ],
)
def test_redact(text: str, redacted: str) -> None:
    assert redact(text) == redacted


@pytest.mark.parametrize(
    ("uri", "experiment_id", "command"),
    [
        ("sqlite:////a/mlflow.db", None, "mlflow ui --backend-store-uri sqlite:////a/mlflow.db"),
        ("sqlite:////a b/mlflow.db", "3", "mlflow ui --backend-store-uri 'sqlite:////a b/mlflow.db'"),
        ("postgresql://u:p@h/db", None, 'mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"'),
        ("http://host:5000", None, "http://host:5000/"),
        ("https://user:pass@host/mlflow/", "3", "https://host/mlflow/#/experiments/3"),
    ],
)
def test_page_command(uri: str, experiment_id: str | None, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV", raising=False)
    assert page_command(uri, experiment_id) == command
    monkeypatch.setenv("UV", "/usr/bin/uv")
    assert page_command(uri, experiment_id) == (command if "://host" in command else f"uv run {command}")
