"""Write params, metrics and tags of runs within MLflow's limits."""

import json
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeVar

from eadbench.harness.tracking.records import CellRecord, Curve, ParamValue, VictimRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, LoggedModel, Metric, Run

T = TypeVar("T")

# MLflow's limits.
MAX_KEY = 250
MAX_PARAM = 6000
MAX_TAG = 8000
MAX_DATASET_DIGEST = 36
PARAMS_PER_REQUEST = TAGS_PER_REQUEST = 100
METRICS_PER_REQUEST = 800


def write_values(
    client: "MlflowClient",
    run: "Run",
    *,
    params: Mapping[str, ParamValue],
    metrics: Mapping[str, float | None],
    tags: Mapping[str, str],
) -> None:
    """Write the values that the run lacks: MLflow refuses to change a param, and keeps every value of a metric."""
    stored = run.data
    _send(
        client,
        run,
        params={key: value for key, value in as_params(params).items() if key not in stored.params},
        metrics=[_metric(key, value) for key, value in as_metrics(metrics).items() if stored.metrics.get(key) != value],
        tags={key: value for key, value in as_tags(tags).items() if stored.tags.get(key) != value},
    )


def write_model_metrics(client: "MlflowClient", run: "Run", model: "LoggedModel", victim: VictimRecord) -> None:
    """Write the metrics that a victim's run or its model lacks; MLflow stores them with both."""
    on_model = {metric.key: metric.value for metric in model.metrics or () if metric.run_id == run.info.run_id}
    source: dict[str, Any] = {
        "model_id": model.model_id,
        "dataset_name": victim.dataset,
        "dataset_digest": victim.dataset_digest[:MAX_DATASET_DIGEST],
    }
    metrics = [
        _metric(key, value, **source)
        for key, value in as_metrics(victim.metrics).items()
        if not run.data.metrics.get(key) == on_model.get(key) == value
    ]
    _send(client, run, metrics=metrics)


def write_curves(client: "MlflowClient", run: "Run", curves: Mapping[str, Curve]) -> None:
    """Write the curves that the run lacks. Each curve goes into one request, so it is stored whole or not at all."""
    batch: list[Metric] = []
    for name, curve in curves.items():
        if as_key(name) in run.data.metrics:
            continue
        points = [_metric(as_key(name), value, step) for step, value in curve]
        if len(batch) + len(points) > METRICS_PER_REQUEST:
            _send(client, run, metrics=batch)
            batch = []
        batch += points
    _send(client, run, metrics=batch)


def _send(
    client: "MlflowClient",
    run: "Run",
    *,
    params: Mapping[str, str] | None = None,
    metrics: Sequence["Metric"] = (),
    tags: Mapping[str, str] | None = None,
) -> None:
    """Send values in as few requests as MLflow's limits allow."""
    from mlflow.entities import Param, RunTag

    parts = zip_longest(
        _parts(metrics, METRICS_PER_REQUEST),
        _parts([Param(*param) for param in (params or {}).items()], PARAMS_PER_REQUEST),
        _parts([RunTag(*tag) for tag in (tags or {}).items()], TAGS_PER_REQUEST),
        fillvalue=(),
    )
    for part in parts:
        client.log_batch(run.info.run_id, *part, synchronous=True)


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Split `items` into parts of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _metric(key: str, value: float, step: int = 0, **source: Any) -> "Metric":
    from mlflow.entities import Metric

    return Metric(key, float(value), time.time_ns() // 1_000_000, step, **source)


def as_key(key: str) -> str:
    """Return a key that MLflow accepts for params, metrics and tags."""
    return re.sub(r"[^\w./ -]", "_", key)[:MAX_KEY]


def as_params(params: Mapping[str, ParamValue]) -> dict[str, str]:
    """Return params as texts that MLflow accepts; 40 and 40.0 become the same text, so that MLflow groups them."""
    texts = {}
    for key, value in params.items():
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if value is not None:
            texts[as_key(key)] = str(value)[:MAX_PARAM]
    return texts


def as_metrics(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """Return the metrics with finite values."""
    return {as_key(key): value for key, value in metrics.items() if value is not None and math.isfinite(value)}


def as_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags that MLflow accepts."""
    return {as_key(key): value[:MAX_TAG] for key, value in tags.items()}


def dataset_input(record: CellRecord | VictimRecord) -> "DatasetInput":
    """Return a record's data set as the input of its run."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source: dict[str, Any] = {"tags": {"dataset": record.dataset, "digest": record.dataset_digest}}
    return DatasetInput(
        Dataset(
            name=record.dataset,
            digest=record.dataset_digest[:MAX_DATASET_DIGEST],
            # MLflow's source type for data that code provides; `mlflow.data.get_source` needs it.
            source_type="code",
            source=json.dumps(source),
        ),
        [InputTag("mlflow.data.context", "eval")],
    )
