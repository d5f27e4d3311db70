"""`eadbench check`: sound attacks pass, wrong ones of the working folder fail, and a mistake is one line.

`tests/attacks/test_contract.py` runs the checks on each of our attacks.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eadbench.attacks.contract import CHECKS
from tests.command import Ended, eadbench, refusal
from tests.sweeps import run, small

BLACK_IMAGES = """
from dataclasses import dataclass, replace

from eadbench.attacks import FGM


@dataclass(frozen=True, kw_only=True)
class BlackImages(FGM):
    def __call__(self, *given, **options):
        result = super().__call__(*given, **options)
        kept = {
            rule: replace(each, images=each.images * each.success[:, None, None, None])
            for rule, each in result.kept.items()
        }
        return replace(result, kept=kept)


@dataclass(frozen=True, kw_only=True)
class NoBound(FGM):
    AXES = ("size",)
    most_passes = property(lambda self: "many")
"""


@pytest.fixture
def wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module `wrong` in the working folder, which is not on the import path yet."""
    (tmp_path / "wrong.py").write_text(BLACK_IMAGES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    yield
    sys.modules.pop("wrong", None)


def failed(ended: Ended) -> list[str]:
    """The names of the checks that failed."""
    return [name.strip() for name in re.findall(r"^(.*?)\s+failed  ", ended.out, re.MULTILINE)]


@pytest.mark.parametrize(("name", "norms"), [("jsma", 1), ("fgm", 3)])
def test_ours_pass(name: str, norms: int) -> None:
    ended = eadbench("check", name)
    assert (ended.code, failed(ended)) == (0, [])
    assert ended.out.count(" passed  ") == norms * len(CHECKS)
    assert f"all {norms * len(CHECKS)} checks passed" in ended.out


def test_an_attack_that_returns_black_images_for_failures(wrong: None) -> None:
    ended = eadbench("check", "wrong:BlackImages", "--set", "norm=l2")
    assert (ended.code, failed(ended)) == (1, ["failed rows carry nothing"])
    assert "do not carry the original image" in " ".join(ended.out.split())
    assert f"1 of {len(CHECKS)} checks failed" in ended.out


def test_each_norm_has_a_table_of_its_own(wrong: None) -> None:
    ended = eadbench("check", "wrong:BlackImages")
    assert ended.code == 1
    assert re.findall(r"^wrong:BlackImages, norm (\w+)", ended.out, re.MULTILINE) == ["l1", "l2", "linf"]
    assert failed(ended) == ["failed rows carry nothing"] * 3


def test_a_class_that_breaks_the_protocol_is_not_run(wrong: None) -> None:
    ended = eadbench("check", "wrong:NoBound")
    assert (ended.code, failed(ended)) == (1, ["declares the protocol"])
    assert "must name its own fields in AXES, got size" in ended.out


def test_hyperparameters_are_changed() -> None:
    ended = eadbench("check", "fgm", "--set", "norm=linf", "--set", "epsilons=[0.2, 0.4]")
    assert ended.out.startswith("fgm, norm linf, epsilons [0.2, 0.4]")
    assert (ended.code, failed(ended)) == (1, ["half space distances are near the least"])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["nothing"],
            "must name a known attack: cw, fgm, ifgm, cov, ead, ddn, alma, fmn, pdpgd, sigma_zero, deepfool, "
            "superdeepfool, fab, apgd, apgd_l1, jsma, mi_fgm, di_fgm, ti_fgm, zoo, hopskipjump, square, autoattack, "
            "universal, substitute, or package.module:name; got 'nothing'",
        ),
        (
            ["no_such_module:Attack"],
            "cannot import 'no_such_module': No module named 'no_such_module'; modules are found in the working "
            "folder, in PYTHONPATH, and where packages are installed",
        ),
        (["ead", "--set", "beta"], "--set beta: must be name=value, such as epsilon=0.1"),
        (["ead", "--set", "betta=1"], "ead.betta: unknown key; did you mean beta?"),
        (["ead", "--set", "beta=-1"], "ead.beta must be finite and not negative, got -1.0"),
        (["fgm", "--set", "norm=l7"], "fgm.norm: must be 'l1', 'l2' or 'linf'; got 'l7'"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], line: str) -> None:
    ended = eadbench("check", *arguments)
    assert (ended.code, refusal(ended)) == (2, line)
    assert ended.out == ""


def test_planted_examples_are_found_by_an_attack_and_not_by_a_weakened_one(tmp_path: Path) -> None:
    run(small(attacks=[{"name": "fgm", "norm": "linf", "epsilons": [1]}]), tmp_path / "sweep")
    planted = ("--planted", tmp_path / "sweep", "--epsilon", 0.1, "--images", 2)
    ended = eadbench("check", "apgd", "--set", "norm=linf", "--set", "steps=10", *planted)
    assert ended.code == 0 and "apgd, linf within 0.1" in ended.out
    assert re.search(r"100\.0 % +\d+\.\d % +2 *\n", ended.out)
    weak = ("--set", "max_iterations=1", "--set", "binary_search_steps=1", "--planted", tmp_path / "sweep")
    ended = eadbench("check", "ead", *weak, "--epsilon", 2, "--images", 2)
    assert ended.code == 1 and "it must find 95 % of them to be trusted" in ended.out
    assert refusal(eadbench("check", "ead", *weak)) == (
        "--planted: needs --epsilon, the radius that the examples lie at"
    )
