"""What every test has: one torch thread, a seed, and a store of its own for MLflow and Ray."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests import MODELS
from tests.tracking_store import copied_stores

FIRST = (
    *("docs/test_tutorials", "docs/test_notebook", "docs/test_extending", "harness/commands/test_cli"),
    *("harness/execution/ray/test_hanging", "harness/commands/test_stopping", "harness/execution/test_studies"),
    *("harness/execution/test_evaluate", "harness/execution/test_disturbed", "harness/execution/test_victim_checks"),
    "harness/commands/test_hostile_results",
)
"""Modules whose tests take ten seconds, or fork processes.

They run first, one module after the other. So a worker of pytest-xdist ends with short tests while another still runs,
and one worker alone starts the process to fork from.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the slow modules to the front."""
    here = Path(__file__).parent
    places = {here / f"{name}.py": place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(FIRST)))


@pytest.fixture(autouse=True)
def one_thread_and_seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def own_tracking_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module", autouse=True)
def own_s3_clients() -> Iterator[None]:
    """fsspec keeps one client for a process, with the address and the credentials of its first user."""
    yield
    if "eadbench.harness.s3" in sys.modules:
        sys.modules["eadbench.harness.s3"].S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="session", autouse=True)
def shared_models(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The sweeps of the tests train the same few networks."""
    base = tmp_path_factory.getbasetemp()
    os.environ[MODELS] = str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "models")


@pytest.fixture(scope="session", autouse=True)
def shared_tracking_tables(shared_models: None) -> Iterator[None]:
    """MLflow makes the tables of a new store once; every store of the tests begins as a copy."""
    with copied_stores():
        yield


@pytest.fixture
def forks() -> Iterator[None]:
    """Networks of other people's code are checked in forks."""
    from tests.forked_checks import forked_checks

    with forked_checks():
        yield


@pytest.fixture(scope="session", autouse=True)
def own_ray_folder() -> Iterator[None]:
    """Ray's sockets need a short path, so not pytest's temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="ead"))
    (folder / "ray").mkdir()
    os.environ["RAY_TMPDIR"] = str(folder)
    yield
    shutil.rmtree(folder, ignore_errors=True)
