"""The sweep that the tests of the explorer show, and what they read of its pages."""

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from streamlit.testing.v1 import AppTest

from tests.dashboards.reading import Parsed

__all__ = ["LONG", "MIXED", "SHORT", "STUDY", "VICTIM", "Visit", "charts", "html", "layers", "messages", "table_rows"]

VICTIM = {"arch": "digits", "training": {"epochs": 2, "batch_size": 32, "learning_rate": 3e-3}, "evaluated_on": "all"}
SEARCH = {"initial_const": 1, "binary_search_steps": 2}
STUDY = {
    "dataset": {"name": "tests.dashboards.data_sets:as_mnist"},
    "images": {"count": 2},
    "victims": [{**VICTIM, "defense": {"distillation": {"temperature": [10, 100]}}}],
    "attacks": [
        {"name": "cw", "kappa": [0, 2], "learning_rate": 0.1, "max_iterations": 15, **SEARCH},
        {"name": "ead", "decision_rules": ["en"], "beta": [1e-3, 1e-2], "max_iterations": 15, **SEARCH},
        {"name": "ead", "decision_rules": ["en"], "beta": [1e-3, 1e-2], "max_iterations": 3, **SEARCH},
    ],
    "save_images": "successes",
    "shard_size": 200,
    "batch_size": 100,
}
MIXED = {
    "dataset": STUDY["dataset"],
    "images": {"count": 2},
    "victims": [VICTIM, {**VICTIM, "defense": {"distillation": {"temperature": [10, 100]}}}],
    "attacks": [{"name": "fgm", "norm": "linf", "epsilons": [0.1, 0.3, 1]}],
    "targets": "untargeted",
}
"""An undefended victim beside distilled ones, attacked without targets."""
LONG, SHORT = "EAD (EN), max_iterations 15", "EAD (EN), max_iterations 3"
"""Two attacks that differ in one hyperparameter."""

Visit = Callable[..., AppTest]
"""Opens a page of the explorer of some folders, as an address does."""


def html(test: AppTest) -> Parsed:
    """Return the HTML of a page."""
    return Parsed("".join(element.value for element in test.main.html))


def table_rows(test: AppTest) -> list[list[str]]:
    """Return the rows of the table of attacks below its two rows of heads, without the victims' titles."""
    return [row for row in html(test).tables["Table of attacks"][2:] if len(row) > 1]


def charts(test: AppTest) -> list[str]:
    """Return the texts of the charts for screen readers."""
    return [chart.proto.alt for chart in test.get("vega_lite_chart")]


def layers(test: AppTest, number: int) -> list[dict[str, Any]]:
    """Return the layers of a chart: the mark, the encoding, and the values."""
    chart = test.get("vega_lite_chart")[number].proto
    data = {entry.name: arrow(entry.data.data) for entry in chart.datasets}
    return [layer | {"values": data[layer["data"]["name"]]} for layer in json.loads(chart.spec)["layer"]]


def arrow(content: bytes) -> list[dict[str, Any]]:
    """Return the rows of a table in Arrow's format."""
    return list(pa.ipc.open_stream(content).read_all().to_pylist())


def messages(test: AppTest) -> str:
    """Return every message of a page."""
    return "\n".join(box.value for box in (*test.error, *test.warning, *test.info, *test.success))
