"""A results folder says of what format it is; one of another is refused in a line that says what to do."""

import json
import shutil
from pathlib import Path

import pytest

from eadbench.harness.results.folder import FORMAT, Results
from tests.command import eadbench, refusal
from tests.sweeps import SMALL, run, small

FGM = [{"name": "fgm", "norm": "l2", "epsilons": [1]}]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep."""
    folder = tmp_path_factory.mktemp("format") / "small"
    run(small(attacks=FGM), folder)
    return folder


@pytest.fixture
def ours(done: Path, tmp_path: Path) -> Path:
    """The same, to be changed, beside its spec."""
    shutil.copytree(done, tmp_path / "small")
    (tmp_path / "small.yaml").write_text(SMALL)
    return tmp_path / "small"


@pytest.fixture(autouse=True)
def no_tracking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is away at once: a fresh one takes seconds."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")


COMMANDS = {
    "run": ["run", "small.yaml", "--executor", "serial", "--results", "small"],
    "plan": ["plan", "small.yaml", "--results", "small"],
    "report": ["report", "small"],
    "claims": ["claims", "small"],
    "show": ["show", "small"],
    "transfer": ["transfer", "small", "--to", "small.yaml", "--executor", "serial"],
}


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def as_of_format_1(folder: Path) -> None:
    """Make a folder what the first format had: victims with a temperature, and no file that says the format."""
    (folder / "format.json").unlink()
    ready = json.loads((folder / "victims.json").read_text())
    for victim in ready["victims"]:
        victim |= {"temperature": victim.pop("defense_parameters").get("temperature")}
        del victim["name"]
    (folder / "victims.json").write_text(json.dumps(ready))


def test_a_sweep_says_its_format(ours: Path) -> None:
    assert json.loads((ours / "format.json").read_text()) == {"format": FORMAT}
    for name in ("plan", "report", "claims"):
        assert eadbench(*COMMANDS[name]).code == 0


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("version", [None, 1])
def test_an_older_folder_is_refused(ours: Path, name: str, version: int | None) -> None:
    """Those written before there were formats have no such file."""
    as_of_format_1(ours)
    if version is not None:
        (ours / "format.json").write_text(json.dumps({"format": version}))
    before = content(ours)
    ended = eadbench(*COMMANDS[name])
    assert ended.code == 2 and not ended.out
    assert refusal(ended).removeprefix("small.yaml: ") == (
        f"small: an earlier eadbench wrote these results (format 1, not {FORMAT}); run its spec into a new folder, "
        "which trains nothing again: eadbench run small/spec.yaml --results NEW --models small/models"
    )
    assert content(ours) == before


def test_what_the_refusal_says_can_be_done(ours: Path) -> None:
    """Without training, and with the same rows."""
    rows = Results(ours).part(next((ours / "examples").iterdir()).stem)
    wanted = rows.read_bytes()
    as_of_format_1(ours)
    ended = eadbench("run", "small/spec.yaml", "--results", "new", "--models", "small/models", "--executor", "serial")
    assert ended.code == 0
    assert "to make first" not in eadbench("plan", "small/spec.yaml", "--results", "new").out
    assert Path("new/examples", rows.name).read_bytes() == wanted


@pytest.mark.parametrize("name", COMMANDS)
def test_a_later_folder_is_refused(ours: Path, name: str) -> None:
    (ours / "format.json").write_text(json.dumps({"format": FORMAT + 1}))
    before = content(ours)
    ended = eadbench(*COMMANDS[name])
    assert ended.code == 2
    assert refusal(ended).removeprefix("small.yaml: ") == (
        f"small: a later eadbench wrote these results (format {FORMAT + 1}, not {FORMAT}); use that version"
    )
    assert content(ours) == before


@pytest.mark.parametrize("text", ["", "[]", '{"format": "two"}'])
def test_a_spoilt_format_is_named(ours: Path, text: str) -> None:
    (ours / "format.json").write_text(text)
    for name in ("run", "report"):
        ended = eadbench(*COMMANDS[name])
        assert ended.code == 4
        line = refusal(ended)
        assert line.startswith("small/format.json: not as a sweep wrote it (")
        assert line.endswith(f'; if this version wrote these results, write {{"format": {FORMAT}}} there')
