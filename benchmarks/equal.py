"""Whether two runs have left the same: rows, images, models, records, reports, and runs in MLflow.

Files are the same byte by byte, up to ids of invocations, times, and what one invocation has computed of the sweep.
"""

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

__all__ = ["differences"]

IGNORED = ("*.lock", ".*.tmp")
"""Files that may be left behind."""
OF_THE_MACHINE = ("started", "seconds", "gradient_evaluations_per_second")
"""Keys of a shard's record that differ from run to run."""
OF_ONE_INVOCATION = (
    *("seconds", "shards", "shards_failed", "examples", "unconfirmed", "gradient_evaluations"),
    "gradient_evaluations_per_second_per_worker",
)
"""Metrics of what an invocation has computed: after a kill, some of the sweep."""
TIMES = (
    r"[\d,.]+ (s|min|h|seconds)\b"
    r"|\d{4}-\d\d-\d\d \d\d:\d\d(:[\d.]+)?( to (\d{4}-\d\d-\d\d )?\d\d:\d\d)?( UTC)?( [0-9a-f]{4}\b)?"
    r"|(?<=<td>)(?=</td>)|(?<=<dd>)(?=</dd>)"
)
IDS = r"\d{8}-\d{6}-[0-9a-f]{8}|\b(m-)?[0-9a-f]{32}\b"
PLACES = r"s3://\w+/[\w-]+|(?<=\")/[^\"]*/results\b"
QUERIES = {
    "experiments": "SELECT name, lifecycle_stage FROM experiments",
    "runs": "SELECT status, lifecycle_stage FROM runs",
    "params": "SELECT key, value FROM params",
    "metrics": "SELECT key, value, step, is_nan FROM metrics",
    "latest metrics": "SELECT key, value, step, is_nan FROM latest_metrics",
    "tags": "SELECT key, value FROM tags",
    "data sets": "SELECT name, digest, dataset_source FROM datasets",
    "inputs": "SELECT source_type, destination_type FROM inputs",
    "models": "SELECT name, status FROM logged_models",
    "models' params": "SELECT param_key, param_value FROM logged_model_params",
    "models' metrics": "SELECT metric_name, metric_value FROM logged_model_metrics",
}
"""What is compared of an MLflow store."""


def differences(folder: Path, reference: Path) -> list[str]:
    """Return what differs between two folders that hold `results`, and MLflow's `mlflow.db` and `mlartifacts`."""
    ours, theirs = Counter(_content(folder)), Counter(_content(reference))
    surplus, missing = (sorted({name for name, _ in names}) for names in (ours - theirs, theirs - ours))
    return [*(f"too many: {name}" for name in surplus), *(f"missing: {name}" for name in missing)]


def _content(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the content of everything there."""
    for root in ("results", "mlartifacts"):
        for path in sorted((folder / root).rglob("*")):
            if path.is_file() and not any(path.match(pattern) for pattern in IGNORED):
                content = _without_times(path, path.read_bytes())
                yield re.sub(IDS, "*", path.relative_to(folder).as_posix()), sha256(content).hexdigest()
    with closing(sqlite3.connect(folder / "mlflow.db")) as store:
        for name, query in QUERIES.items():
            for row in store.execute(query):
                text = _without_ids(json.dumps(row))
                if row[0] not in OF_ONE_INVOCATION:
                    yield f"MLflow's {name}: {text}", ""


def _without_times(path: Path, content: bytes) -> bytes:
    """Return a file's content without what differs between two runs that do the same."""
    if path.suffix == ".html" or path.name == "MLmodel":
        return _without_ids(content.decode()).encode()
    if path.parent.name == "shards":
        return _json(json.loads(content), OF_THE_MACHINE)
    if path.parent.name == "invocations" and path.suffix == ".json":
        record = json.loads(content)
        metrics = {key: value for key, value in record["metrics"].items() if key not in OF_ONE_INVOCATION}
        return _without_ids(_json(record | {"metrics": metrics}, ("invocation", "name")).decode()).encode()
    return content


def _json(content: dict[str, Any], left_out: tuple[str, ...]) -> bytes:
    return json.dumps({key: value for key, value in content.items() if key not in left_out}).encode()


def _without_ids(text: str) -> str:
    return re.sub(TIMES, "…", re.sub(IDS, "*", re.sub(PLACES, "results", text)))
