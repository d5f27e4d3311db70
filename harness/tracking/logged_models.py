"""Log victims as MLflow models: recipe, metrics, and the files that :mod:`eadbench.harness.tracking.pyfunc` loads."""

import platform
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from eadbench.harness.results.folder import Results
from eadbench.harness.results.model_files import read_model
from eadbench.harness.tracking import pyfunc, values
from eadbench.harness.tracking.records import VictimRecord
from eadbench.models import is_stored

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.models import Model

RECIPE_TAG = "eadbench.recipe"
MODEL_TYPE = "image classifier"
DATA = "data"


def find_or_create(client: "MlflowClient", run: "Run", victim: VictimRecord) -> "LoggedModel":
    """Return the victim's model in its run's experiment, and create it if missing. All sweeps share this one model."""
    models = client.search_logged_models(
        [run.info.experiment_id],
        f"tags.`{RECIPE_TAG}` = '{victim.digest}'",
        max_results=1,
        order_by=[{"field_name": "creation_time", "ascending": True}],
    )
    if models:
        return models[0]
    return client.create_logged_model(
        run.info.experiment_id,
        name=re.sub(r"[/:.%\"']+", " ", victim.name),
        source_run_id=run.info.run_id,
        tags=values.as_tags({**victim.tags, RECIPE_TAG: victim.digest}),
        params=values.as_params(victim.params),
        model_type=MODEL_TYPE,
    )


def write_output(client: "MlflowClient", run: "Run", model: "LoggedModel") -> None:
    """Record the model as the output of the victim's run, unless the run has it."""
    from mlflow.entities import LoggedModelOutput

    outputs = client.get_run(run.info.run_id).outputs  # a search may leave them out
    model_outputs = outputs.model_outputs if outputs else []
    if model.model_id not in {output.model_id for output in model_outputs}:
        client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, step=0)])


def write_weights(client: "MlflowClient", model: "LoggedModel", victim: VictimRecord, folder: Path) -> None:
    """Write the files of a model and mark it ready; if the results have lost its weights, mark it failed.

    Of weights above :data:`~eadbench.harness.tracking.pyfunc.MOST_BYTES`, write only the location.

    Raises
    ------
    DamagedResults
        The stored model is damaged.
    """
    from mlflow.entities import LoggedModelStatus

    if model.status == LoggedModelStatus.READY:
        return
    stored = Results(folder.absolute()).model(victim.digest)
    status = LoggedModelStatus.FAILED
    if is_stored(stored):
        read_model(stored)
        with TemporaryDirectory() as temporary:
            pyfunc.write(stored, Path(temporary, DATA))
            _description(model, victim).save(Path(temporary, "MLmodel"))
            client.log_model_artifacts(model.model_id, temporary)
        status = LoggedModelStatus.READY
    if model.status != status:
        client.finalize_logged_model(model.model_id, status)


def _description(model: "LoggedModel", victim: VictimRecord) -> "Model":
    """Return MLflow's description of a model: its loader, inputs and outputs. Nothing is pickled."""
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    single = np.dtype(np.float32)
    signature = ModelSignature(
        inputs=Schema([TensorSpec(single, (-1, *victim.image_shape))]),
        outputs=Schema([TensorSpec(single, (-1, victim.classes))]),
    )
    description = Model(model_id=model.model_id, run_id=model.source_run_id, signature=signature)
    # `mlflow.pyfunc.add_to_model` does the same, but importing it takes seconds and warns.
    return description.add_flavor(
        "python_function", loader_module=pyfunc.__name__, python_version=platform.python_version(), data=DATA
    )
