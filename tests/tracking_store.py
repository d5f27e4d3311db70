"""A new store of MLflow. Its tables take seconds to make, so they are made once and copied."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eadbench.harness.tracking import store
from eadbench.models import lock
from tests import MODELS

__all__ = ["copied_stores", "make_store"]

CREATE = store._create
"""Lets MLflow make a store."""


def make_store(database: Path) -> None:
    """Copy a store without runs to `database`. The first call in a test session makes it."""
    made = Path(os.environ[MODELS]).with_name("mlflow.db")
    with lock(made):
        if not made.exists():
            CREATE(made)
    database.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(made, database)


@contextmanager
def copied_stores() -> Iterator[None]:
    """Let eadbench copy a store where it would make one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_create", make_store)
        yield
