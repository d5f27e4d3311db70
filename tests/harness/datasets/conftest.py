"""Real data sets, where they are."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data sets: EADBENCH_DATA, or shared/data beside the repository."""
    root = Path(os.environ.get("EADBENCH_DATA", Path(__file__).parents[4] / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no real data sets: EADBENCH_DATA is not set and {root} does not exist")
    return root
