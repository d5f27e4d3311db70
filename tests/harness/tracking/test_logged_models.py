"""Victims as logged models of MLflow."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eadbench.models import build, load
from eadbench.models.code import NO_CODE
from tests.harness.tracking.sample_records import (
    BETAS,
    a_cell,
    a_sweep,
    a_victim,
    artifact_folder,
    children,
    client,
    log_sweep,
    models_of,
    runs_of,
)


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
        "code", cells=[], victims=[a_victim(tmp_path, arch="tests.harness.tracking.test_logged_models:digits_by_path")]
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
