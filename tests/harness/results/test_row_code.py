"""A module of the user's own that changes between two runs is said to have changed, before and after the second."""

from pathlib import Path

import pytest

from eadbench.harness import api
from eadbench.harness.frames import Results
from eadbench.harness.reporting import report
from eadbench.models.code import module_hashes
from tests.sweeps import run, small

ATTACK = """
from dataclasses import dataclass

from eadbench.attacks import FGM


@dataclass(frozen=True, kw_only=True)
class Mine(FGM):
    LABEL = "mine"
"""


def test_a_changed_module_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module, folder = tmp_path / "code_that_changes.py", tmp_path / "results"
    module.write_text(ATTACK)
    attacks = [{"name": "code_that_changes:Mine", "norm": "linf", "epsilons": [0.3]}, {"name": "fgm", "norm": "l1"}]

    def sweep(count: int) -> None:
        run(small(attacks=attacks, images={"count": count}, shard_size=9), folder)

    def said() -> list[str]:
        planned = api.plan(small(attacks=attacks, images={"count": 2}, shard_size=9), results=str(folder))
        return [text for text in planned.warnings if "module" in text]

    sweep(1)
    assert not said()
    module.write_text(f"{ATTACK}    # another version\n")
    [first] = said()
    assert first.startswith("the module code_that_changes has changed since 1 of the 1 parts of its rows in ")
    sweep(2)
    [second] = said()
    assert second.startswith("the module code_that_changes has changed since 1 of the 2 parts of its rows in ")
    [mixed] = [text for text in report.warnings(Results(folder).summary) if "module" in text]
    assert mixed == "the rows were computed with 2 versions of the module code_that_changes, so that figures mix them"


@pytest.mark.parametrize(
    "text", ["ead", "timm:resnet18", "https://example.org/w.pth", "no_such_package.module:f", "sys:f"]
)
def test_what_is_no_file_of_code_has_no_hash(text: str) -> None:
    assert module_hashes([text]) == {}
