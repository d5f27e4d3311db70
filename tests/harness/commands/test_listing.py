"""Listings: every built-in entry as it is, without importing it; own code by its import path; names of every source."""

from eadbench.harness.commands import entries
from tests.command import eadbench


def test_models_are_searched() -> None:
    names = eadbench("models", "--search", "ResNet18").out.split()
    assert {"resnet18", "timm:resnet18"} <= {*names} and all("resnet18" in name.lower() for name in names)
    assert eadbench("models", "--search", "no such name").out == ""


def test_the_entries_at_hand_are_those_of_the_registries() -> None:
    at_hand = {command: entries.built_in(command) for command in entries.every_built_in()}
    assert at_hand == entries.every_built_in(), "run: python -m eadbench.harness.commands.entries"


def test_own_code_is_listed_as_built_in_attacks_are() -> None:
    listed = eadbench("attacks", "eadbench.attacks.fgm:FGM", "fgm").out
    own, _, built_in = listed.partition("\nfgm")
    assert own.removeprefix("eadbench.attacks.fgm:FGM") == built_in.rstrip("\n")
    assert "norm: needed  (may be a list)" in own and "targeted" not in own
    unknown = eadbench("attacks", "fgmm")
    assert unknown.code == 2 and "did you mean fgm?" in unknown.err
