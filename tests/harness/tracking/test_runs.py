"""Sweeps as runs of MLflow, in a real SQLite store: what counts is what MLflow's page finds."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eadbench.harness.errors import TrackingFault
from tests.harness.tracking.sample_records import (
    BETAS,
    a_cell,
    a_sweep,
    artifact_folder,
    children,
    client,
    log_sweep,
    runs_of,
)


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
