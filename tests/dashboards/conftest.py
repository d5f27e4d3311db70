"""Results folders for the explorer, and visits to its pages without a browser."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from streamlit.testing.v1 import AppTest

from eadbench import dashboards
from eadbench.harness.results.folder import Results
from eadbench.harness.results.records import Failed
from tests import sweeps
from tests.dashboards.explorer import MIXED, STUDY, Visit

APP = Path(dashboards.__file__).with_name("app.py")
PATIENCE = 120
"""Seconds; a page takes less than one on an idle machine."""


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run two sweeps, and one on other images, and damage copies of one."""
    root = tmp_path_factory.mktemp("explorer")
    sweeps.run(sweeps.small(**STUDY), root / "first")
    cw, long, short = STUDY["attacks"]
    fewer = [{**cw, "max_iterations": 5}, long, {**short, "max_iterations": 1}]
    sweeps.run(sweeps.small(**STUDY | {"attacks": fewer}), root / "second")
    sweeps.run(sweeps.small(**STUDY | {"attacks": [short], "seed": 7}), root / "others")
    sweeps.run(sweeps.small(**MIXED), root / "mixed")
    (root / "empty").mkdir()
    Results(root / "young").begin(sweeps.small())
    corrupt = ("corrupt_rows", "corrupt_victims", "corrupt_records")
    for name in ("twin", "no_rows", "failed", *corrupt, "no_spec", "no_data", "no_weights"):
        shutil.copytree(root / "first", root / name)
    for name in ("no_rows", "failed"):
        shutil.rmtree(root / name / "examples")
    failure = Failed(task="shard 1", ended="2026-01-01T00:00:00+00:00", workers=["w1", "w2"], error="a\nKaboom: 1")
    Results(root / "failed").write_failure("1", failure)
    min((root / "corrupt_rows" / "examples").glob("?" * 16 + ".parquet")).write_bytes(b"PAR1")
    (root / "corrupt_victims" / "victims.json").write_text('{"dataset": ')
    min((root / "corrupt_records" / "shards").glob("*.json")).write_text('{"shard": ')
    (root / "corrupt_records" / "failures").mkdir()
    (root / "corrupt_records" / "failures" / "77.json").write_text('{"task": 7}')
    (root / "no_spec" / "spec.yaml").unlink()
    spec = yaml.safe_load((root / "no_data" / "spec.yaml").read_text())
    missing = {"name": "mnist", "root": str(root / "nowhere")}
    (root / "no_data" / "spec.yaml").write_text(yaml.safe_dump(spec | {"dataset": missing}))
    shutil.rmtree(root / "no_weights" / "models")
    return root


@pytest.fixture
def visit(folders: Path, monkeypatch: pytest.MonkeyPatch) -> Visit:
    """Return a function that opens a page of the explorer of some folders, as an address does."""

    # At every run, AppTest reads the metadata of all installed packages to find components. The explorer has none.
    scan = "streamlit.components.v2.manifest_scanner.scan_component_manifests"
    monkeypatch.setattr(scan, list, raising=False)

    def opened(
        names: Sequence[str | Path], page: str = "", *, allow_code: bool = True, **query: str | list[str]
    ) -> AppTest:
        switch = ["--allow-code"] if allow_code else []
        monkeypatch.setattr("sys.argv", ["app.py", *switch, *(str(folders / name) for name in names)])
        test = AppTest.from_file(APP, default_timeout=PATIENCE)
        for name, value in (({"page": page} if page else {}) | query).items():
            test.query_params[name] = value
        test.run()
        assert not test.exception
        return test

    return opened
