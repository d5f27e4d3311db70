"""Sweeps in MLflow, against real SQLite stores and a real server: what counts is what MLflow's page finds."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eadbench.harness import tracking
from eadbench.harness.errors import EnvironmentFault, TrackingFault
from eadbench.harness.records import CellRecord, Logged, SweepRecord, VictimRecord
from eadbench.harness.tracking_uri import default_tracking_uri, page_command, redact
from eadbench.models import Recipe, Training, build, load, save, seeded
from eadbench.models.code import NO_CODE

BETAS = (0.001, 0.01, 0.1)
KAPPAS = (0, 20)


def a_cell(beta: float, kappa: int, **changes: Any) -> CellRecord:
    cell = CellRecord(
        digest=f"{round(beta * 1000):08x}{kappa:08x}",
        name=f"EAD-EN beta={beta} kappa={kappa}",
        params={"attack": "ead", "beta": beta, "kappa": kappa, "temperature": None},
        metrics={
            "best.asr": 100.0,
            "average.l1": 10 * beta + kappa,
            "average.l2": 1.5,
            "worst.l1": float("nan"),
        },
        dataset="MNIST",
        dataset_digest="0123456789abcdef",
    )
    return replace(cell, **changes)


def a_sweep(experiment: str, **changes: Any) -> SweepRecord:
    sweep = SweepRecord(
        experiment=experiment,
        invocation=f"{experiment}-1",
        name="first",
        tags={"mlflow.source.git.commit": "f" * 40},
        artifacts={"spec.yaml": "name: x\n", "table.csv": "beta,asr\n", "table.md": "| beta |\n"},
        params={"executor": "serial"},
        metrics={"shards": 7.0, "seconds": 1.25},
        cells=[a_cell(beta, kappa) for beta in BETAS for kappa in KAPPAS],
        finished=True,
    )
    return replace(sweep, **changes)


def a_victim(folder: Path, *, seed: int = 0, arch: str = "digits", **metrics: float) -> VictimRecord:
    """A victim that is stored in `folder`, untrained."""
    training = Training(epochs=1, seed=seed)
    recipe = Recipe(
        arch=arch, parameters={}, num_classes=10, trained_on="MNIST", defense={"name": "none"}, training=training
    )
    with seeded(seed):
        save(folder / "models" / recipe.digest, recipe, build(arch, num_classes=10), {})
    return VictimRecord(
        digest=recipe.digest,
        name=f"{arch.partition(':')[2] or arch}, no defence, seed {seed}",
        params={"model": recipe.digest, "training.epochs": 1},
        metrics={"accuracy": 0.5, "strongest.asr": 100.0, **metrics},
        tags={"eadbench.defense": "none"},
        dataset="MNIST",
        dataset_digest="0123456789abcdef",
        image_shape=(1, 8, 8),
        classes=10,
    )


def log_sweep(sweep: SweepRecord, uri: str, folder: Path = Path("no results")) -> Logged:
    return tracking.log_sweep(sweep, uri, folder)


def client(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def children(uri: str, logged: Logged) -> list[Any]:
    """The runs of cells."""
    found = client(uri).search_runs([logged.experiment_id], f"tags.`mlflow.parentRunId` = '{logged.run_id}'")
    return [run for run in found if "eadbench.cell" in run.data.tags]


def models_of(uri: str, logged: Logged, **order: Any) -> list[Any]:
    return list(client(uri).search_logged_models([logged.experiment_id], **order))


def artifact_folder(uri: str) -> Path:
    """Where a local store keeps artifacts."""
    return Path(uri.removeprefix("file://"))


def runs_of(uri: str, logged: Logged) -> int:
    return len(client(uri).search_runs([logged.experiment_id]))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One SQLite store for the module: a fresh one takes seconds; each test has its own experiment in it."""
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A real MLflow server with one worker on the loopback interface; the test may stop it."""
    folder = tmp_path_factory.mktemp("server")
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
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
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


def test_page_can_group_cells_by_beta_and_plot_average_l1(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log_sweep(a_sweep("grouping"), store)
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    runs = mlflow.search_runs(experiment_names=["grouping"], filter_string="params.kappa = '20'")
    assert set(runs["tags.mlflow.runName"]) == {f"EAD-EN beta={beta} kappa=20" for beta in BETAS}
    means = runs.groupby("params.beta")["metrics.average.l1"].mean().to_dict()
    assert means == pytest.approx({"0.001": 20.01, "0.01": 20.1, "0.1": 21.0})


def test_a_cell_is_a_finished_child_with_its_data_set(store: str) -> None:
    logged = log_sweep(a_sweep("child", cells=[a_cell(0.01, 20)]), store)
    assert (logged.cells_written, logged.cells_found) == (1, 0)
    (child,) = children(store, logged)
    assert child.info.run_name == "EAD-EN beta=0.01 kappa=20"
    assert child.info.status == "FINISHED"
    assert child.data.params == {"attack": "ead", "beta": "0.01", "kappa": "20"}
    assert child.data.metrics == {"best.asr": 100.0, "average.l1": 20.1, "average.l2": 1.5}
    (dataset,) = [entry.dataset for entry in child.inputs.dataset_inputs]
    assert (dataset.name, dataset.digest) == ("MNIST", "0123456789abcdef")


def test_the_parent_holds_spec_tables_and_revision(store: str) -> None:
    logged = log_sweep(a_sweep("parent"), store)
    parent = client(store).get_run(logged.run_id)
    assert (parent.info.run_name, parent.info.status) == ("first", "FINISHED")
    assert parent.info.end_time >= parent.info.start_time
    assert parent.data.params == {"executor": "serial"}
    assert parent.data.metrics == {"shards": 7.0, "seconds": 1.25}
    assert parent.data.tags["mlflow.source.git.commit"] == "f" * 40
    artifacts = [entry.path for entry in client(store).list_artifacts(logged.run_id)]
    assert sorted(artifacts) == ["spec.yaml", "table.csv", "table.json", "table.md"]


def test_tables_are_shown_as_tables_and_digests_in_them_stay_text(store: str) -> None:
    text = "cell,defense,beta,l1\n1e10000000000000,none,0.001,2.5\n0123456789012345,,,\n"
    sweep = a_sweep("tables", cells=[], artifacts={"table.csv": text})
    log_sweep(sweep, store)
    logged = log_sweep(sweep, store)  # not a line twice
    parent = client(store).get_run(logged.run_id)
    assert json.loads(artifact_folder(parent.info.artifact_uri).joinpath("table.json").read_text()) == {
        "columns": ["cell", "defense", "beta", "l1"],
        "data": [["1e10000000000000", "none", 0.001, 2.5], ["0123456789012345", None, None, None]],
    }
    assert json.loads(parent.data.tags["mlflow.loggedArtifacts"]) == [{"path": "table.json", "type": "table"}]


def test_files_are_artifacts_and_what_is_gone_or_cut_off_there_is_written_again(store: str, tmp_path: Path) -> None:
    figure = tmp_path / "asr_over_beta-digits.png"
    figure.write_bytes(b"PNG" * 1000)
    name = f"figures/{figure.name}"
    sweep = a_sweep("files", cells=[], files={name: figure}, finished=False)
    logged = log_sweep(sweep, store)
    where = artifact_folder(client(store).get_run(logged.run_id).info.artifact_uri)
    for broken in (lambda: (where / name).write_bytes(b"PNG"), (where / name).unlink):
        broken()
        log_sweep(replace(sweep, finished=True), store)
        assert (where / name).read_bytes() == figure.read_bytes()


def test_curves_are_metrics_with_steps_written_once(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eadbench.harness.tracking.values.METRICS_PER_REQUEST", 5)
    curves = {f"average.l1 over kappa/attack {i}": [(0, 1.5), (10, 2.5), (20, 2.5)] for i in range(4)}
    sweep = a_sweep("curves", cells=[], curves=curves, finished=False)
    log_sweep(replace(sweep, curves={name: curves[name] for name in list(curves)[:2]}), store)
    log_sweep(sweep, store)
    logged = log_sweep(replace(sweep, finished=True), store)
    for name, points in curves.items():
        history = client(store).get_metric_history(logged.run_id, name)
        assert sorted((metric.step, metric.value) for metric in history) == points


def test_a_victim_is_one_model_that_its_cells_name(store: str, tmp_path: Path) -> None:
    weak, strong = (a_victim(tmp_path, seed=seed, **{"strongest.l1": l1}) for seed, l1 in ((0, 2.0), (1, 7.0)))
    cells = [a_cell(beta, 0, victim=victim.digest) for beta, victim in zip(BETAS, (weak, strong, weak), strict=True)]
    sweep = a_sweep("models", cells=cells, victims=[weak, strong])
    log_sweep(sweep, store, tmp_path)
    log_sweep(replace(sweep, invocation="models-2"), store, tmp_path)
    logged = log_sweep(sweep, store, tmp_path)
    assert logged.cells_found == 3 and runs_of(store, logged) == 2 * (1 + 2 + 3)

    most_robust = [{"field_name": "metrics.strongest.l1", "ascending": False}]
    found = models_of(store, logged, order_by=most_robust)
    assert [model.tags["eadbench.recipe"] for model in found] == [strong.digest, weak.digest]
    assert [str(model.status) for model in found] == ["READY", "READY"]
    assert found[0].params == {"model": strong.digest, "training.epochs": "1"}
    assert sorted(metric.key for metric in found[0].metrics) == 2 * ["accuracy"] + 2 * ["strongest.asr"] + 2 * [
        "strongest.l1"
    ]
    assert {(metric.dataset_name, metric.dataset_digest) for metric in found[0].metrics} == {
        ("MNIST", "0123456789abcdef")
    }
    by_recipe = {model.tags["eadbench.recipe"]: model.model_id for model in found}
    runs = [client(store).get_run(run.info.run_id) for run in children(store, logged)]
    attacked = {run.data.params["beta"]: run.inputs.model_inputs[0].model_id for run in runs}
    assert attacked == {str(cell.params["beta"]): by_recipe[cell.victim] for cell in cells if cell.victim}
    source = client(store).get_run(found[0].source_run_id)
    assert source.data.metrics == {"accuracy": 0.5, "strongest.asr": 100.0, "strongest.l1": 7.0}
    assert [output.model_id for output in source.outputs.model_outputs] == [found[0].model_id]

    client(store).delete_logged_model(found[0].model_id)
    log_sweep(sweep, store, tmp_path)
    [again, _] = models_of(store, logged, order_by=most_robust)
    assert again.model_id != found[0].model_id
    assert {metric.key: metric.value for metric in again.metrics}["strongest.l1"] == 7.0


@pytest.mark.parametrize("most", [2**20, 0], ids=["copied", "named where they are"])
def test_a_model_gives_the_logits_of_its_victim(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setattr("eadbench.harness.tracking.pyfunc.MOST_BYTES", most)
    monkeypatch.setattr("eadbench.harness.tracking.pyfunc.AT_ONCE", 2)
    victim = a_victim(tmp_path)
    sweep = a_sweep(f"loading-{most}", cells=[], victims=[victim])
    [model] = models_of(store, log_sweep(sweep, store, tmp_path))
    folder = artifact_folder(model.artifact_location)
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    data = ["data/recipe.json", "data/weights.safetensors"] if most else ["data/elsewhere.json"]
    assert files == ["MLmodel", *data]  # no pickle

    network = loaded(model)
    images = np.random.default_rng(0).random((5, 1, 8, 8), dtype=np.float32)
    expected = load(tmp_path / "models" / victim.digest)[0](torch.from_numpy(images)).detach().numpy()
    np.testing.assert_allclose(network.predict(images), expected, rtol=1e-5)
    assert network.predict(images[:0]).shape == (0, 10)
    from mlflow import MlflowException

    with pytest.raises(ValueError, match=r"images must be in \[0, 1\], got 0.* to 25"):
        network.predict(images * 255)
    with pytest.raises(MlflowException, match=r"\(5, 3, 8, 8\).*\(-1, 1, 8, 8\)"):
        network.predict(images.repeat(3, axis=1))


def loaded(model: Any) -> Any:
    """A logged model of the store that MLFLOW_TRACKING_URI names, as MLflow loads it."""
    import mlflow

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow's, about its own type hints
        return mlflow.pyfunc.load_model(model.model_uri)


def digits_by_path(num_classes: int) -> torch.nn.Module:
    return build("digits", num_classes=num_classes)


def test_a_model_that_names_code_is_refused_where_code_is(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = a_sweep(
        "code", cells=[], victims=[a_victim(tmp_path, arch="tests.harness.tracking.test_tracking:digits_by_path")]
    )
    [model] = models_of(store, log_sweep(sweep, store, tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv(NO_CODE, "1")
    with pytest.raises(ValueError, match="--no-code refuses"):
        loaded(model)
    monkeypatch.delenv(NO_CODE)
    assert loaded(model).predict(np.zeros((1, 1, 8, 8), np.float32)).shape == (1, 10)


def test_a_model_whose_weights_are_gone_has_failed_until_they_are_back(store: str, tmp_path: Path) -> None:
    victim = a_victim(tmp_path / "elsewhere")
    sweep = a_sweep("gone", cells=[], victims=[victim])
    for folder, status in ((tmp_path, "FAILED"), (tmp_path / "elsewhere", "READY"), (tmp_path, "READY")):
        [model] = models_of(store, log_sweep(sweep, store, folder))
        assert str(model.status) == status


def test_logging_again_doubles_nothing(store: str) -> None:
    sweep = a_sweep("again")
    first = log_sweep(sweep, store)
    second = log_sweep(sweep, store)
    assert first.run_id == second.run_id
    assert (second.cells_written, second.cells_found) == (0, 6)
    assert runs_of(store, second) == 1 + 6
    assert len(client(store).get_metric_history(second.run_id, "shards")) == 1


def test_another_invocation_is_another_parent_in_the_same_experiment(store: str) -> None:
    first = log_sweep(a_sweep("invocations"), store)
    second = log_sweep(a_sweep("invocations", invocation="invocations-2"), store)
    assert first.experiment_id == second.experiment_id
    assert first.run_id != second.run_id
    assert (second.cells_written, second.cells_found) == (6, 0)


def test_a_sweep_that_was_cut_off_is_completed(store: str) -> None:
    whole = a_sweep("cut off")
    partial = replace(whole, cells=whole.cells[:2], metrics={"shards": 3.0}, finished=False)
    before = log_sweep(partial, store)
    assert client(store).get_run(before.run_id).info.status == "RUNNING"

    half = client(store).create_run(
        before.experiment_id,
        run_name=whole.cells[2].name,
        tags={"mlflow.parentRunId": before.run_id, "eadbench.cell": whole.cells[2].digest},
    )
    client(store).log_param(half.info.run_id, "beta", "0.01")
    client(store).log_metric(half.info.run_id, "best.asr", 100.0)

    after = log_sweep(whole, store)
    assert after.run_id == before.run_id
    assert (after.cells_written, after.cells_found) == (4, 2)
    assert runs_of(store, after) == 1 + 6
    parent = client(store).get_run(after.run_id)
    assert (parent.info.status, parent.data.metrics["shards"]) == ("FINISHED", 7.0)
    assert all(child.info.status == "FINISHED" for child in children(store, after))
    completed = client(store).get_run(half.info.run_id)
    assert completed.data.params == {"attack": "ead", "beta": "0.01", "kappa": "0"}
    assert completed.data.metrics == {"best.asr": 100.0, "average.l1": 0.1, "average.l2": 1.5}
    assert len(client(store).get_metric_history(half.info.run_id, "best.asr")) == 1


def test_more_than_a_page_of_cells_and_a_request_of_params(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eadbench.harness.tracking.store.RUNS_PER_PAGE", 4)
    params = {f"attack.{number}": number for number in range(250)}
    sweep = a_sweep("many", params=params)
    log_sweep(sweep, store)
    logged = log_sweep(sweep, store)
    assert (logged.cells_written, logged.cells_found) == (0, 6)
    assert len(client(store).get_run(logged.run_id).data.params) == 250


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(40.0, "40", id="40.0-is-40"),
        pytest.param(0, "0", id="zero"),
        pytest.param(1e-5, "1e-05", id="small"),
        pytest.param("x" * 7000, "x" * 6000, id="cut-to-MLflow's-limit"),
        pytest.param(None, None, id="does-not-apply"),
    ],
)
def test_params_as_text(store: str, value: Any, text: str | None) -> None:
    cell = a_cell(0.1, 0, params={"value": value, "why? [a%]": 1})
    logged = log_sweep(a_sweep("params", invocation=f"params-{str(value)[:5]}", cells=[cell]), store)
    (child,) = children(store, logged)
    assert child.data.params.get("value") == text
    assert child.data.params["why_ _a__"] == "1"


def test_metrics_that_are_no_numbers_are_left_out(store: str) -> None:
    metrics = {"best.asr": 0.0, "best.l1": None, "best.l2": float("nan"), "best.linf": float("inf")}
    logged = log_sweep(a_sweep("metrics", cells=[a_cell(0.1, 0, metrics=metrics)]), store)
    (child,) = children(store, logged)
    assert child.data.metrics == {"best.asr": 0.0}


def test_a_deleted_experiment_is_named_with_its_remedy(store: str) -> None:
    logged = log_sweep(a_sweep("deleted", cells=[]), store)
    client(store).delete_experiment(logged.experiment_id)
    with pytest.raises(TrackingFault, match=rf"restore it \(.* --experiment-id {logged.experiment_id}\)"):
        log_sweep(a_sweep("deleted"), store)


FRESH = """
import sys
from pathlib import Path
from tests.harness.tracking.test_tracking import a_sweep
from eadbench.harness.tracking import log_sweep
from eadbench.harness.tracking_uri import default_tracking_uri
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
    ],
)
def test_redact(text: str, redacted: str) -> None:
    assert redact(text) == redacted


@pytest.mark.parametrize(
    ("uri", "experiment_id", "command"),
    [
        ("sqlite:////a/mlflow.db", None, "uv run mlflow ui --backend-store-uri sqlite:////a/mlflow.db"),
        ("sqlite:////a b/mlflow.db", "3", "uv run mlflow ui --backend-store-uri 'sqlite:////a b/mlflow.db'"),
        ("postgresql://u:p@h/db", None, 'uv run mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"'),
        ("http://host:5000", None, "http://host:5000/"),
        ("https://user:pass@host/mlflow/", "3", "https://host/mlflow/#/experiments/3"),
    ],
)
def test_page_command(uri: str, experiment_id: str | None, command: str) -> None:
    assert page_command(uri, experiment_id) == command
