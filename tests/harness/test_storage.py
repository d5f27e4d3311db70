"""Results at a URI are those of a folder."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from eadbench.dashboards import page
from eadbench.harness.errors import UserError
from eadbench.harness.reporting import report
from eadbench.harness.results.folder import Results
from eadbench.harness.storage import is_local, located
from tests.sweeps import rows, run, small


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket of an S3 server on loopback."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret-of-the-test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="sweeps")
        yield "s3://sweeps"
    server.stop()


class TestPlaces:
    @pytest.mark.parametrize(
        ("text", "path"), [("results/a", "results/a"), ("file:///tmp/a%20b", "/tmp/a b"), ("/tmp/x", "/tmp/x")]
    )
    def test_folders(self, text: str, path: str) -> None:
        assert located(text) == Path(path) and is_local(located(text))

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("s3://key:secret@bucket/a", r"s3://\*\*\*@bucket/a: a URI must not hold a key or a password"),
            ("nowhere://a/b", "no storage is called nowhere://"),
        ],
    )
    def test_what_is_none(self, text: str, said: str) -> None:
        with pytest.raises(UserError, match=said):
            located(text)


def test_what_reads_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(UserError, match=r"pip install 'eadbench\[gcs\]'"):
        located("gs://a/b")


def test_a_sweep_on_s3_is_that_of_a_folder(bucket: str, tmp_path: Path) -> None:
    what = small(
        attacks=[{"name": "ifgm", "norm": "linf", "epsilons": [0.1, 0.3]}],
        victims=[
            {"arch": "digits", "training": {"epochs": 2, "batch_size": 32}, "evaluated_on": ["other"]},
            {"name": "other", "arch": "digits", "training": {"epochs": 3, "batch_size": 32, "seed": 1}},
        ],
    )
    there = located(f"{bucket}/a/small")
    done = run(what, there, models=located(f"{bucket}/models"))
    assert done.shards == 4 and done.transfers == 2 and not done.failures
    assert run(what, there).nothing
    run(what, tmp_path / "small")
    pd.testing.assert_frame_equal(rows(there), rows(tmp_path / "small"), check_exact=True)
    names = {path.relative_to(tmp_path / "small").as_posix() for path in (tmp_path / "small").rglob("*.*")}
    stored = {str(path).removeprefix(f"{bucket}/a/small/") for path in there.rglob("*.*")}
    assert stored == names - {name for name in names if name.endswith(".lock")}
    for part in (tmp_path / "small" / "images").iterdir():
        assert (there / "images" / part.name).read_bytes() == part.read_bytes()
    found = report.read(Results(there))
    written = report.write(Results(there), found)
    assert (there / "report" / "table.csv").read_text() == written["table.csv"]
    shown = page.write(Results(there), found)
    assert shown == there / "report" / "report.html" and 'class="gallery"' in shown.read_text()
    assert not any(os.environ["AWS_SECRET_ACCESS_KEY"] in path.read_text() for path in there.rglob("*.json"))
