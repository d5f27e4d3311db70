"""Results at a URI equal those in a folder, and a store's failures are errors of the harness."""

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pandas as pd
import pytest

from eadbench.harness import api
from eadbench.harness.errors import EnvironmentFault, UserError
from eadbench.harness.frames import Results
from eadbench.harness.parquet.adversarial import read_images
from eadbench.harness.parquet.rows import read_rows
from eadbench.harness.reporting import report
from eadbench.harness.results.owner import FolderInUse, Owner
from eadbench.harness.storage import is_local, located, read_at_most, writable
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


@pytest.fixture
def own_client() -> Iterator[None]:
    """Give the test a client of its own, with the credentials and the address of its environment."""
    from eadbench.harness.s3 import S3FileSystem

    S3FileSystem.clear_instance_cache()
    yield
    S3FileSystem.clear_instance_cache()


class TestLocated:
    @pytest.mark.parametrize(
        ("text", "path"), [("results/a", "results/a"), ("file:///tmp/a%20b", "/tmp/a b"), ("/tmp/x", "/tmp/x")]
    )
    def test_a_folder(self, text: str, path: str) -> None:
        assert located(text) == Path(path) and is_local(located(text))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("s3://key:secret@bucket/a", r"s3://\*\*\*@bucket/a: a URI must not hold a key or a password"),
            ("nowhere://a/b", "results are kept in a folder or an object store"),
            ("hf://datasets/a/b", "results are kept in a folder or an object store"),
            ("simplecache::http://127.0.0.1:9/x", "results are kept in a folder or an object store"),
            ("s3://", "must name a bucket: s3://BUCKET/NAME"),
            ("s3:///a", "must name a bucket"),
        ],
    )
    def test_a_mistake(self, text: str, message: str) -> None:
        with pytest.raises(UserError, match=message):
            located(text)

    def test_a_place_that_cannot_be_written_to(self) -> None:
        with pytest.raises(UserError, match="can be read, but not written to"):
            writable("http://127.0.0.1:9/results")
        with pytest.raises(UserError, match="can be read, but not written to"):
            api.run(small(), results="http://127.0.0.1:9/results")


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
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
    results = Results(there)
    texts = report.write(results.snapshot.folder, results.summary)
    assert (there / "report" / "table.csv").read_text() == texts["table.csv"]
    html = api.write_page(results)
    assert html == there / "report" / "report.html" and 'class="gallery"' in html.read_text()
    assert not any(os.environ["AWS_SECRET_ACCESS_KEY"] in path.read_text() for path in there.rglob("*.json"))


class TestOwner:
    """A prefix of an object store has one owner at a time; there are no locks, but conditional writes."""

    def test_one_of_many_claims_a_prefix(self, bucket: str) -> None:
        owners = [Owner(located(f"{bucket}/claimed"), lambda _: None) for _ in range(4)]

        def won(owner: Owner) -> bool:
            try:
                owner.claim()
            except FolderInUse as error:
                assert f"(pid {os.getpid()})" in str(error)
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(won, owners)) == 1
        for owner in owners:
            owner.__exit__(None, None, None)
        assert not located(f"{bucket}/claimed/owner.json").exists()

    def test_a_dead_owner_is_followed(self, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("eadbench.harness.results.owner.SETTLE", 0.3)
        root, lines = located(f"{bucket}/dead"), list[str]()
        (root / "owner.json").write_bytes(b"cut off")
        with Owner(root, lines.append, patience=0.3, beat=0.05) as owner:
            owner.claim()
            before = read_at_most(root / "owner.json", 2**20)
            time.sleep(0.5)
            assert read_at_most(root / "owner.json", 2**20) != before, "its heart beats"
            with pytest.raises(FolderInUse):
                Owner(root, lines.append).claim()
        assert "waits up to" in lines[0] and "takes over from" in lines[1] and len(lines) == 2


@contextmanager
def answering(status: int) -> Iterator[str]:
    """A server that gives every request this status; its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # an upload waits for "100 Continue"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            self.end_headers()

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


OPERATIONS: dict[str, Callable[[Path], object]] = {
    "read": lambda path: path.read_bytes(),
    "write": lambda path: path.write_bytes(b"x"),
    "list": lambda path: list(path.parent.glob("*.parquet")),
    "exists": lambda path: path.exists(),
    "is_file": lambda path: path.is_file(),
    "unlink": lambda path: path.unlink(missing_ok=True),
    "rows": lambda path: read_rows([path]),
    "images": lambda path: read_images([path]),
}


@pytest.mark.usefixtures("own_client")
class TestFaults:
    """A store that cannot be asked is a fault of the environment in every operation, never a missing file."""

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_no_credentials(self, bucket: str, operation: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
            monkeypatch.setenv(name, str(tmp_path / "none"))
        with pytest.raises(EnvironmentFault, match=r"^S3: Unable to locate credentials; what is committed stays$"):
            OPERATIONS[operation](located(f"{bucket}/a/part.parquet"))

    def test_a_server_that_does_not_answer(self, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
            monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
            with pytest.raises(EnvironmentFault, match="S3: Could not connect to the endpoint URL"):
                located(f"{bucket}/a/part.parquet").is_file()

    @pytest.mark.parametrize("operation", ["read", "write", "list", "exists", "is_file", "rows", "images"])
    @pytest.mark.parametrize(("status", "kind"), [(403, PermissionError), (503, OSError)])
    def test_a_refusal_is_no_missing_file(
        self, bucket: str, operation: str, status: int, kind: type[OSError], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with answering(status) as address:
            monkeypatch.setenv("AWS_ENDPOINT_URL", address)
            monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
            monkeypatch.setattr(sys.modules["s3fs.core"].S3FileSystem, "retries", 1)
            with pytest.raises((kind, EnvironmentFault)) as error:
                OPERATIONS[operation](located(f"{bucket}/a/part.parquet"))
        assert not isinstance(error.value, FileNotFoundError)

    @pytest.mark.parametrize("operation", ["read", "list", "exists", "is_file"])
    @pytest.mark.parametrize("status", [403, 503])
    def test_nor_on_the_web(self, operation: str, status: int) -> None:
        with answering(status) as address, pytest.raises(EnvironmentFault, match=f"the server answers {status}"):
            OPERATIONS[operation](located(f"{address}/a/part.parquet"))

    def test_a_web_server_that_has_nothing_or_is_away(self) -> None:
        with answering(404) as address:
            assert not located(f"{address}/a").is_file()
            with pytest.raises(FileNotFoundError):
                located(f"{address}/a").read_bytes()
        with pytest.raises(EnvironmentFault, match="Cannot connect to host"):
            located(f"{address}/a").is_file()
        with pytest.raises(UserError, match="copy them to a folder first"):
            api.Results(address)

    def test_an_answer_of_the_server_is_an_os_error(self, bucket: str) -> None:
        with pytest.raises(FileNotFoundError):
            located(f"{bucket}/a/absent").read_bytes()
        assert not located(f"{bucket}/a/absent").is_file()
        with pytest.raises(FileNotFoundError, match="bucket does not exist"):
            located("s3://of-nobody/a").write_bytes(b"x")
