"""Victims as MLflow's logged models: recipe, metrics, and what :mod:`harness.tracking.pyfunc` loads them from."""

import platform
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from eadbench.harness.records import VictimRecord
from eadbench.harness.results.folder import Results
from eadbench.harness.tracking import pyfunc, values
from eadbench.models import is_stored

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.models import Model

RECIPE_TAG = "eadbench.recipe"
MODEL_TYPE = "image classifier"
DATA = "data"


def find_or_create(client: "MlflowClient", run: "Run", victim: VictimRecord) -> "LoggedModel":
    """The model of a victim's recipe in its run's experiment: one, whatever the number of sweeps that attack it."""
    found = client.search_logged_models(
        [run.info.experiment_id],
        f"tags.`{RECIPE_TAG}` = '{victim.digest}'",
        max_results=1,
        order_by=[{"field_name": "creation_time", "ascending": True}],
    )
    if found:
        return found[0]
    return client.create_logged_model(
        run.info.experiment_id,
        name=re.sub(r"[/:.%\"']+", " ", victim.name),
        source_run_id=run.info.run_id,
        tags=values.as_tags({**victim.tags, RECIPE_TAG: victim.digest}),
        params=values.as_params(victim.params),
        model_type=MODEL_TYPE,
    )


def write_output(client: "MlflowClient", run: "Run", model: "LoggedModel") -> None:
    """Say that the model is what the victim's run is about, if the run does not say so."""
    from mlflow.entities import LoggedModelOutput

    outputs = client.get_run(run.info.run_id).outputs  # a search may leave them out
    said = outputs.model_outputs if outputs else []
    if model.model_id not in {output.model_id for output in said}:
        client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, step=0)])


def write_weights(client: "MlflowClient", model: "LoggedModel", victim: VictimRecord, folder: Path) -> None:
    """Write what a model is loaded from, which makes it ready; one whose weights are gone from the results has failed.

    Weights of more than :data:`~eadbench.harness.tracking.pyfunc.MOST_BYTES` are not copied, but named.
    """
    from mlflow.entities import LoggedModelStatus

    if model.status == LoggedModelStatus.READY:
        return
    stored = Results(folder.absolute()).model(victim.digest)
    status = LoggedModelStatus.FAILED
    if is_stored(stored):
        with TemporaryDirectory() as temporary:
            pyfunc.write(stored, Path(temporary, DATA))
            _described(model, victim).save(Path(temporary, "MLmodel"))
            client.log_model_artifacts(model.model_id, temporary)
        status = LoggedModelStatus.READY
    if model.status != status:
        client.finalize_logged_model(model.model_id, status)


def _described(model: "LoggedModel", victim: VictimRecord) -> "Model":
    """MLflow's description of a model: how it is loaded, what it takes, what it gives; nothing of it is pickled."""
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    single = np.dtype(np.float32)
    signature = ModelSignature(
        inputs=Schema([TensorSpec(single, (-1, *victim.image_shape))]),
        outputs=Schema([TensorSpec(single, (-1, victim.classes))]),
    )
    described = Model(model_id=model.model_id, run_id=model.source_run_id, signature=signature)
    # What `mlflow.pyfunc.add_to_model` does, whose import takes seconds and warns.
    return described.add_flavor(
        "python_function", loader_module=pyfunc.__name__, python_version=platform.python_version(), data=DATA
    )
