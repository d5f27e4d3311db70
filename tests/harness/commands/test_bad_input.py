"""Files and servers that are not as they should be: each is one clear line, and nothing is lost."""

import base64
import json
import os
import pickle
import resource
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import yaml

from eadbench import models
from eadbench.harness.errors import UserError
from eadbench.harness.results.folder import Results
from tests.command import Ended, eadbench, refusal
from tests.harness.tracking.tracking_server import TrackingServer
from tests.sweeps import SMALL, run, small

QUICK: dict[str, Any] = {"attacks": [{"name": "fgm", "norm": "l2", "epsilons": [1]}]}
"""Changes of the small sweep that leave a shard or two."""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep."""
    folder = tmp_path_factory.mktemp("done") / "small"
    run(small(**QUICK), folder)
    return folder


@pytest.fixture
def ours(done: Path, tmp_path: Path) -> Path:
    """The same, to be spoilt."""
    shutil.copytree(done, tmp_path / "small")
    return tmp_path / "small"


@pytest.fixture(autouse=True)
def no_tracking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is away at once: a fresh one takes seconds."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")


def spec_file(**changes: Any) -> Path:
    path = Path("spec.yaml")
    path.write_text(yaml.safe_dump(yaml.safe_load(SMALL) | QUICK | changes))
    return path


def run_command(results: Path, spec: Path) -> Ended:
    return eadbench("run", spec, "--executor", "serial", "--results", results)


def parts(files: dict[str, bytes]) -> dict[str, bytes]:
    """Those of the files that hold rows."""
    return {name: held for name, held in files.items() if name.startswith("examples/")}


def content(folder: Path) -> dict[str, bytes]:
    """What is committed in a results folder."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


class _Touch:
    """What, when it is unpickled, makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


class TestWeights:
    """A file of weights that is none, or another model's, is refused before a worker is started."""

    def refused(self, file: Path, ours: Path) -> str:
        before = content(ours)
        ended = run_command(ours, spec_file(victims=[{"arch": "digits", "weights": str(file)}]))
        assert ended.code == 2
        assert before | {"spec.yaml": b""} == content(ours) | {"spec.yaml": b""}
        return refusal(ended)

    def test_missing(self, ours: Path, tmp_path: Path) -> None:
        assert self.refused(tmp_path / "no.pt", ours) == (
            f"spec.yaml: victims[0].weights: there is no file {tmp_path}/no.pt"
        )

    @pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
    def test_of_another_architecture(self, name: str, ours: Path, tmp_path: Path) -> None:
        weights = models.build("cw_mnist", num_classes=10).state_dict()
        if name == "w.pt":
            torch.save(weights, tmp_path / name)
        else:
            safetensors.torch.save_file(weights, tmp_path / name)
        line = self.refused(tmp_path / name, ours)
        assert line.startswith(f"spec.yaml: victims[0]: {tmp_path}/{name} does not fit the architecture: it has feat")

    @pytest.mark.parametrize("form", ["pickle", "torch", "within a state dict"])
    def test_a_pickle_is_not_executed(self, form: str, ours: Path, tmp_path: Path) -> None:
        file, mark = tmp_path / "w.pt", tmp_path / "executed"
        if form == "pickle":
            file.write_bytes(pickle.dumps(_Touch(mark)))
        else:
            torch.save(_Touch(mark) if form == "torch" else {"features.0.weight": _Touch(mark)}, file)
        line = self.refused(file, ours)
        assert line.startswith(f"spec.yaml: victims[0]: {file} must be a state dict of tensors")
        assert not mark.exists()
        if form == "pickle":
            pickle.loads(file.read_bytes())
        else:
            torch.load(file, weights_only=False)
        assert mark.exists()

    @pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
    @pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999], ids="{:.1%}".format)
    def test_cut_off(self, name: str, share: float, ours: Path, tmp_path: Path) -> None:
        weights = models.build("digits", num_classes=10).state_dict()
        torch.save(weights, tmp_path / "w.pt")
        safetensors.torch.save_file(weights, tmp_path / "w.safetensors")
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
        assert self.refused(tmp_path / name, ours).startswith(f"spec.yaml: victims[0]: {tmp_path}/{name} ")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk that is full, as it were: longer files cannot be written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class TestResultsFolder:
    @pytest.mark.parametrize("below", ["", "sub", "sub/sub"])
    def test_a_file(self, below: str) -> None:
        Path("taken").write_text("mine")
        ended = run_command(Path("taken") / below, spec_file())
        assert ended.code == 2
        assert refusal(ended) == f"--results {Path('taken') / below}: must be a folder, but taken is a file"
        assert Path("taken").read_text() == "mine"

    def test_a_file_is_no_results(self) -> None:
        Path("taken").write_text("mine")
        for command in (["report"], ["claims"], ["transfer", "--to", spec_file()]):
            ended = eadbench(*command, "taken")
            assert ended.code == 2 and refusal(ended).startswith("taken: no spec.yaml there; give the folder that")

    @pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
    def test_without_permission(self) -> None:
        Path("locked").mkdir(mode=0o500)
        ended = run_command(Path("locked/small"), spec_file())
        assert ended.code == 1 and refusal(ended) == "locked/small: Permission denied; what is committed stays"

    @pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no file system that nobody writes to")
    def test_nobody_writes_there(self) -> None:
        ended = run_command(Path("/proc/self/small"), spec_file())
        assert ended.code == 1
        assert refusal(ended) == "/proc/self/small: No such file or directory; what is committed stays"

    def test_a_store_without_credentials(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            monkeypatch.setenv(name, str(tmp_path / "none"))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        ended = eadbench("plan", spec_file(), "--results", "s3://bucket-of-nobody/small")
        assert ended.code == 1 and refusal(ended) == "S3: Unable to locate credentials; what is committed stays"

    def test_no_room_at_the_start(self, ours: Path) -> None:
        before = content(ours)
        spec = spec_file(seed=1)
        with files_of_at_most(100):
            ended = run_command(ours, spec)
        assert ended.code == 1 and refusal(ended).endswith("File too large; what is committed stays")
        assert content(ours) == before

    def test_no_room_for_a_part(self, ours: Path) -> None:
        before = content(ours)
        spec = spec_file(attacks=[{"name": "fgm", "norm": "l1", "epsilons": [1]}])
        with files_of_at_most(6000):
            ended = run_command(ours, spec)
        assert ended.code in (1, 3) and "Traceback" not in ended.err, ended
        assert parts(before).items() <= parts(content(ours)).items()
        assert not list(ours.rglob("*.tmp"))
        assert run_command(ours, spec).code == 0
        assert len(list((ours / "examples").iterdir())) == 4


class TestSpecFile:
    def test_a_folder(self) -> None:
        ended = eadbench("plan", ".")
        assert ended.code == 2 and refusal(ended) == ".: cannot be read: Is a directory"

    def test_binary(self, done: Path) -> None:
        weights = next(done.glob("models/*/weights.safetensors"))
        part = next((done / "examples").iterdir())
        for file in (weights, part):
            ended = eadbench("plan", file)
            assert ended.code == 2 and refusal(ended).startswith(
                f"{file}: cannot be read: it is no text: 'utf-8' codec"
            )

    @pytest.mark.parametrize(
        ("parameters", "said"),
        [
            ({"path": "nowhere"}, "path must be a folder, got 'nowhere'"),
            ({"path": "~nobody-here/x"}, "path must be a folder, got '~nobody-here/x'"),
            ({"path": "x" * 300}, "path must be a folder, got 'xxx"),
            ({"path": ".", "train": ""}, "'' is no pattern of file names: "),
            ({"path": ".", "train": "/etc/*"}, "'/etc/*' is no pattern of file names: "),
            ({"path": "."}, "no file in . matches 'train*.parquet'"),
        ],
        ids=["missing", "nobody's home", "long", "empty pattern", "pattern of another folder", "no match"],
    )
    def test_whose_data_set_is_not_there(self, parameters: dict[str, str], said: str) -> None:
        ended = eadbench("plan", spec_file(dataset={"name": "parquet", **parameters}))
        assert ended.code == 2 and refusal(ended).startswith(f"spec.yaml: dataset: {said}")


SPOILT: dict[str, Callable[[str], str]] = {
    "cut off": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "another kind": lambda text: "[1]",
    "no digest": lambda text: text.replace('"digest"', '"digset"'),
    "text for numbers": lambda text: text.replace('"images": [', '"images": ["many", '),
}


class TestCorruptResults:
    """A spoilt file of a results folder is named; without it, the sweep makes it again and does no work twice."""

    @pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
    @pytest.mark.parametrize("name", ["victims.json", "tested.json"])
    def test_victims(self, ours: Path, name: str, spoil: Any) -> None:
        victims = (ours / "victims.json").read_text()
        (ours / name).write_text(
            spoil(victims if name == "victims.json" else json.dumps(json.loads(victims)["victims"]))
        )
        for command in ("report", "claims"):
            ended = eadbench(command, ours)
            assert ended.code == 2
            assert refusal(ended).startswith(f"{ours}/{name}: not as a sweep wrote it (")
        (ours / name).unlink()
        assert "Nothing to do" in run_command(ours, spec_file()).out
        assert (ours / "victims.json").read_text() == victims

    @pytest.mark.parametrize(
        ("text", "said"), [("name: [", "not valid YAML"), ("", "must be a mapping"), ("\0", "not v")]
    )
    def test_spec(self, ours: Path, text: str, said: str) -> None:
        (ours / "spec.yaml").write_text(text)
        for command in (["report", ours], ["claims", ours], ["transfer", ours, "--to", spec_file()]):
            ended = eadbench(*command)
            assert ended.code == 2 and refusal(ended).startswith(f"{ours}/spec.yaml: {said}")
        assert "Nothing to do" in run_command(ours, spec_file()).out
        assert eadbench("report", ours).code == 0

    @pytest.mark.parametrize("text", ["", "[]", '{"recipe": {}}', '{"recipe": []}'])
    def test_recipe(self, ours: Path, text: str) -> None:
        [file] = ours.glob("models/*/recipe.json")
        file.write_text(text)
        ended = run_command(ours, spec_file())
        assert ended.code == 2 and f"{file}: not a stored model's recipe (" in refusal(ended)

    @pytest.mark.parametrize("text", ["", "[]", '{"shard": "0123"}', "\0"])
    def test_shard_record(self, done: Path, ours: Path, text: str) -> None:
        file = sorted((ours / "shards").iterdir())[0]
        file.write_text(text)
        with pytest.raises(
            UserError, match=rf"{file.name}: not as a sweep wrote it .*; delete it and .*{file.stem}.pa"
        ):
            Results(ours).shard_record(file.stem)
        file.unlink()
        Results(ours).part(file.stem).unlink()
        assert run_command(ours, spec_file()).code == 0
        assert Results(ours).shard_record(file.stem).successes == Results(done).shard_record(file.stem).successes

    @pytest.mark.parametrize("text", ["", "[]", '{"experiment": "small"}', "\0"])
    def test_invocation(self, ours: Path, text: str) -> None:
        file = ours / "invocations" / "20260101-120000-01234567.json"
        file.parent.mkdir()
        file.write_text(text)
        for command in (["log", ours], ["report", ours, "--format", "html"]):
            ended = eadbench(*command)
            assert ended.code == 2 and refusal(ended).startswith(f"{file}: not as a sweep wrote it (")
            assert refusal(ended).endswith("); delete it, if MLflow has that run")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_is_not_there(scheme: str) -> None:
    address = f"{scheme}127.0.0.1:{free_port()}"
    ended = eadbench("run", spec_file(), "--address", address)
    assert ended.code == 1
    assert refusal(ended) == f"--address {address}: nothing answers there: [Errno 111] Connection refused"
    assert not Path("results").exists()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    """MLflow's own."""
    found = TrackingServer(tmp_path_factory.mktemp("mlflow"))
    yield found
    found.close()


SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG",
    "AWS_SESSION_TOKEN": "FwoGZXIvYXdzEBYaDHVz",
    "MLFLOW_S3_SECRET": "kT0pSecretOfTheStore",
    "GOOGLE_API_KEY": "AIzaSyD-9tSrke72PouQ",
}


def test_a_tracking_server_that_dies_midway_and_no_secret_anywhere(
    server: TrackingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:hunter2hunter2@127.0.0.1:{server.port}")
    spec = spec_file(attacks=[{"name": "fgm", "norm": ["l1", "l2", "linf"], "epsilons": [0.1, 1]}])
    server.left = 20  # one cell, and the half of another
    first = eadbench("run", spec, "--executor", "serial", "--results", "sweeps/small")
    assert first.code == 0 and server.left == 0
    assert "warning: cannot log to MLflow" in first.err and "`eadbench log sweeps/small` writes it later" in first.err
    assert len(list(Path("sweeps/small/examples").iterdir())) == 6

    still_away = eadbench("log", "sweeps/small")
    assert still_away.code == 1 and refusal(still_away).startswith("cannot log to MLflow at http://***@127.0.0.1")

    server.left = None
    later = eadbench("log", "sweeps/small")
    assert later.code == 0 and "1 invocations, 2 cells written, 1 were there" in later.out
    again = eadbench("log", "sweeps/small")
    assert "0 cells written, 3 were there" in again.out

    user = base64.b64encode(b"me:hunter2hunter2").decode()
    assert server.users == {f"Basic {user}"}  # the password is in use
    printed = "".join(part for ended in (first, still_away, later, again) for part in (ended.out, ended.err))
    written = {**content(tmp_path), **content(server.folder), "printed": printed.encode()}
    assert b"FGM-L1" in written["mlflow.db"] and any(name.endswith("table.csv") for name in written)
    for secret in (*SECRETS.values(), "hunter2hunter2", user):
        assert not [name for name, held in written.items() if secret.encode() in held], secret


def test_a_secret_in_a_spec_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    spec = spec_file(victims=[{"arch": "digits", "weights": "https://me:hunter2hunter2@host/w.pt"}])
    ended = eadbench("run", spec, "--executor", "serial")
    assert ended.code == 2
    assert refusal(ended).startswith("spec.yaml: victims[0].weights: must not hold a user, a password or a token")
    assert "hunter2hunter2" not in ended.out + ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["spec.yaml"]
