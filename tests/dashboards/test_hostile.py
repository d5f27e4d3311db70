"""A stranger's results in the explorer: none of its code is imported, and its texts are texts."""

import shutil
import sys
from pathlib import Path

import pytest

from eadbench.harness.results.folder import Results
from eadbench.harness.results.records import Failed
from tests.dashboards.explorer import Visit, messages
from tests.harness.commands.hostile import CONTROL, Attack, Target, code, escapes, link
from tests.harness.commands.test_no_code import MODULE

PAGES = ("", "curves", "transfer", "images", "sweep")


@pytest.fixture
def target(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A copy of a sweep to attack, and code that would leave a mark."""
    shutil.copytree(folders / "second", tmp_path / "theirs")
    Results(tmp_path / "theirs").write_failure("a", Failed(task="a", ended="2026-01-01", workers=["w"], error="b"))
    for name in ("outside", "code"):
        (tmp_path / name).mkdir()
    (tmp_path / "code" / "theirs.py").write_text(MODULE.format(mark=str(tmp_path / "outside" / "imported")))
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return Target(tmp_path / "theirs", tmp_path / "outside", "http://127.0.0.1:9")


@pytest.mark.parametrize("attack", [code, escapes])
def test_pages(attack: Attack, target: Target, visit: Visit) -> None:
    attack(target)
    for page in PAGES:
        test = visit([target.folder], page, allow_code=False)
        texts = [element.value for element in (*test.main.html, *test.caption, *test.code)] + [messages(test)]
        assert not CONTROL & set("".join(map(str, texts))), page
    assert not any(target.outside.iterdir()) and "theirs" not in sys.modules


def test_a_link_that_leads_out(target: Target, visit: Visit) -> None:
    (target.outside / "secret").write_text("secret")
    link(target.folder / "spec.yaml", target.outside / "secret")
    test = visit([target.folder], allow_code=False)
    assert "is a link that leads out of" in messages(test) and "secret" not in messages(test).replace(
        "outside/secret", ""
    )
