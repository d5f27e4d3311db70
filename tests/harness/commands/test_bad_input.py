"""Files that are not as they should be: each is one clear line, and nothing is lost."""

import json
import os
import pickle
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from eadbench import models
from eadbench.harness.errors import DamagedResults
from eadbench.harness.results.folder import Results
from tests.command import Ended, eadbench, refusal
from tests.harness.commands.spec_files import QUICK, content, spec_file
from tests.sweeps import run, small


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


def run_command(results: Path, spec: Path) -> Ended:
    return eadbench("run", spec, "--executor", "serial", "--results", results)


def parts(files: dict[str, bytes]) -> dict[str, bytes]:
    """Those of the files that hold rows."""
    return {name: held for name, held in files.items() if name.startswith("examples/")}


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
    """Let no file grow beyond `size` bytes, as on a full disk.

    Python 3.11 keeps the bytecode that it could write only in part (python/cpython#126606),
    so none is written meanwhile: every later process would fail on it.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)
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
            assert ended.code == 4
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

    @pytest.mark.parametrize("text", ["", "[]", '{"recipe": {}}', '{"recipe": []}', "[" * 100_000])
    def test_recipe(self, ours: Path, text: str) -> None:
        [file] = ours.glob("models/*/recipe.json")
        file.write_text(text)
        ended = run_command(ours, spec_file())
        assert ended.code == 4 and f"{file}: not a stored model's recipe (" in refusal(ended)

    @pytest.mark.parametrize("text", ["", "[]", '{"shard": "0123"}', "\0"])
    def test_shard_record(self, done: Path, ours: Path, text: str) -> None:
        file = sorted((ours / "shards").iterdir())[0]
        file.write_text(text)
        with pytest.raises(
            DamagedResults, match=rf"{file.name}: not as a sweep wrote it .*; delete it and .*{file.stem}.pa"
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
            assert ended.code == 4 and refusal(ended).startswith(f"{file}: not as a sweep wrote it (")
            assert refusal(ended).endswith("); delete it, if MLflow has that run")
