"""`eadbench --no-code` imports nothing that a spec or a results folder names."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from eadbench.harness.errors import DamagedResults
from eadbench.harness.plan.grid import Victim
from eadbench.harness.registry import ATTACKS, DEFENSES
from eadbench.harness.results.folder import FORMAT, Results
from eadbench.harness.spec import overrides
from tests.command import eadbench, refusal
from tests.sweeps import SMALL, run, small

MODULE = """
from pathlib import Path
Path({mark!r}).touch()

from eadbench.attacks import CarliniWagner as attack
from eadbench.defenses.undefended import Undefended as defence
from eadbench.harness.datasets.builtin import digits
from eadbench.models.architectures import digits as arch

def dataset():
    return digits()
"""


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that is there once the module `theirs` has been imported."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "theirs.py").write_text(MODULE.format(mark=str(tmp_path / "imported")))
    monkeypatch.syspath_prepend(code)
    monkeypatch.delitem(sys.modules, "theirs", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for registry in (ATTACKS, DEFENSES):
        monkeypatch.setitem(vars(registry), "facts", {})
    yield tmp_path / "imported"
    sys.modules.pop("theirs", None)


PLACES: dict[str, tuple[str, Any]] = {
    "dataset.name": ("dataset.name", "theirs:dataset"),
    "victims[0].arch": ("victims.0.arch", "theirs:arch"),
    "victims[0].defense": ("victims.0.defense", "theirs:defence"),
    "victims[0].defense ": ("victims.0.defense", {"theirs:defence": {}}),
    "victims[0].defense.adversarial_training.attacks[1].name": (
        "victims.0.defense",
        {"adversarial_training": {"images": 5, "attacks": [{"name": "cw"}, {"name": "theirs:attack"}]}},
    ),
    "attacks[0].name": ("attacks.0.name", "theirs:attack"),
}


@pytest.mark.usefixtures("forks")
@pytest.mark.parametrize(("said", "place"), PLACES.items(), ids=[f"{name}" for name in PLACES])
def test_code_in_a_spec(said: str, place: tuple[str, Any], mark: Path) -> None:
    path, value = place
    Path("small.yaml").write_text(SMALL)
    change = f"{path}={json.dumps(value)}"
    for command in (["plan"], ["run", "--executor", "serial"]):
        refused = eadbench("--no-code", *command, "small.yaml", "--set", change)
        name = json.dumps(value).split('"theirs:')[1].split('"')[0]
        expected = f"small.yaml: {said.strip()}: names code (theirs:{name}), which --no-code refuses"
        assert (refused.code, refusal(refused)) == (2, expected)
    assert not mark.exists() and "theirs" not in sys.modules and not Path("results").exists()

    assert eadbench("plan", "small.yaml", "--set", change).code == 0
    assert mark.exists() or path == "victims.0.arch"  # which is imported where it is built


def test_a_spec_without_code(mark: Path) -> None:
    Path("small.yaml").write_text(SMALL)
    assert eadbench("--no-code", "plan", "small.yaml").code == 0


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep."""
    folder = tmp_path_factory.mktemp("done") / "small"
    run(small(attacks=[{"name": "fgm", "norm": "l2", "epsilons": [1]}], save_images="successes"), folder)
    return folder


READING = (["report"], ["report", "--figures"], ["claims"], ["show"], ["log"], ["report", "--format", "html"])


class TestResultsOfOthers:
    @pytest.fixture
    def theirs(self, done: Path, tmp_path: Path) -> Path:
        shutil.copytree(done, tmp_path / "small")
        return tmp_path / "small"

    @staticmethod
    def name_code(theirs: Path, path: str, value: Any, *, facts: bool) -> None:
        """Put code into their spec, with or without the facts that a sweep stores."""
        content = yaml.safe_load((theirs / "spec.yaml").read_text())
        overrides.put(content, path, value, "")
        (theirs / "spec.yaml").write_text(yaml.safe_dump(content))
        axes = ["norm"] if path.startswith("attacks.0") else []
        known = {
            "attacks": {"theirs:attack": {"label": "Theirs", "axes": axes}},
            "defenses": {"theirs:defence": {"label": "D"}},
        }
        (theirs / "format.json").write_text(json.dumps({"format": FORMAT, **(known if facts else {})}))

    @pytest.mark.parametrize("switch", [[], ["--no-code"]], ids=["", "no-code"])
    @pytest.mark.parametrize("place", PLACES.values(), ids=[f"{name}" for name in PLACES])
    def test_reading_imports_no_code_in_their_spec(
        self, theirs: Path, place: tuple[str, Any], switch: list[str], mark: Path
    ) -> None:
        self.name_code(theirs, *place, facts=True)
        for command in READING if place[0] == "dataset.name" else READING[:1]:
            ended = eadbench(*switch, *command, theirs)
            unanswered = 3 if place[0] == "attacks.0.name" else 0  # rows of another attack do not answer the spec
            assert ended.code == (2 if "--figures" in command else unanswered), ended
            assert not mark.exists() and "theirs" not in sys.modules

    @pytest.mark.parametrize("place", PLACES.values(), ids=[f"{name}" for name in PLACES])
    def test_facts_that_are_not_stored(self, theirs: Path, place: tuple[str, Any], mark: Path) -> None:
        self.name_code(theirs, *place, facts=False)
        ended = eadbench("report", theirs)
        if "attack" in json.dumps(place[1]) or "defence" in json.dumps(place[1]):
            assert ended.code == 2 and refusal(ended).endswith("which is code; --allow-code imports it")
        else:
            assert ended.code == 0
        assert not mark.exists()
        refused = eadbench("--no-code", "report", theirs, "--allow-code")
        assert refused.code == 2 and refusal(refused).startswith(f"{theirs}/spec.yaml: {place[0].split('.')[0]}")
        assert refusal(refused).endswith("which --no-code refuses") and not mark.exists()
        eadbench("report", theirs, "--allow-code")
        assert mark.exists() or place[0] == "victims.0.arch"

    def test_a_data_set_of_theirs(self, theirs: Path, mark: Path) -> None:
        self.name_code(theirs, "dataset.name", "theirs:dataset", facts=True)
        shown = eadbench("show", theirs)
        assert shown.code == 0 and "No original: data set theirs:dataset is code" in shown.out and not mark.exists()
        assert "No original" not in eadbench("show", theirs, "--allow-code").out and mark.exists()

    def test_transfer_is_work(self, theirs: Path, mark: Path) -> None:
        self.name_code(theirs, "dataset.name", "theirs:dataset", facts=True)
        Path("small.yaml").write_text(SMALL)
        refused = eadbench("--no-code", "transfer", theirs, "--to", "small.yaml", "--executor", "serial")
        assert refused.code == 2 and "names code (theirs:dataset), which --no-code refuses" in refusal(refused)
        assert not mark.exists()

    def test_code_in_their_models(self, theirs: Path, mark: Path) -> None:
        [file] = theirs.glob("models/*/recipe.json")
        content = json.loads(file.read_text())
        content["recipe"]["arch"] = "theirs:arch"
        file.write_text(json.dumps(content))
        Path("small.yaml").write_text(SMALL)
        refused = eadbench("--no-code", "run", "small.yaml", "--results", theirs, "--executor", "serial")
        assert refused.code == 4 and f"{file}: describes the model " in refusal(refused)
        with pytest.raises(DamagedResults, match="describes the model"):  # code or not, it is another model
            run(small(attacks=[{"name": "fgm", "norm": "l2", "epsilons": [2]}]), theirs)
        assert not mark.exists()

    def test_victims_name_no_code(self, theirs: Path, mark: Path) -> None:
        """What victims.json says is printed, and imported by nothing."""
        dataset, victims = Results(theirs).victims()
        named = [Victim(**vars(victim) | {"arch": "theirs:arch", "defense": "theirs:defence"}) for victim in victims]
        Results(theirs).write_victims(dataset, named, (1, 8, 8), range(10))
        assert eadbench("report", theirs).code == 0
        assert not mark.exists()
