"""The command starts at once: it imports what a command needs when the command is called."""

import inspect
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from eadbench.harness.commands.group import COMMANDS
from tests.command import eadbench

LISTINGS = ("attacks", "datasets", "defenses", "models")
HEAVY = ("torch", "pandas", "pyarrow", "duckdb", "ray", "mlflow", "numpy", "scipy", "streamlit")
PROGRAM = """
import json, sys
sys.argv = ["eadbench", *sys.argv[1:]]
from eadbench.harness.cli import main
try:
    main()
except SystemExit as end:
    print(json.dumps([end.code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def started(*words: str, **environment: str) -> tuple[str, int, list[str]]:
    """What a command prints in a process of its own, its exit code, and the packages that it has imported."""
    command = [sys.executable, "-c", PROGRAM, *words]
    process = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    text, _, last = process.stdout.strip().rpartition("\n")
    code, packages = json.loads(last)
    return text, code, packages


@pytest.mark.parametrize(
    "words", [(), ("--help",), ("--version",), ("run", "--help"), ("report", "--help"), ("log", "--help")]
)
def test_help_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    text, code, packages = started(*words)
    assert text and code in (0, 2)
    assert not set(HEAVY) & set(packages)


@pytest.mark.parametrize("words", [(name,) for name in LISTINGS] + [("attacks", "fgm", "ead")])
def test_listings_import_nothing_heavy(words: tuple[str, ...]) -> None:
    text, code, packages = started(*words)
    assert text and code == 0
    assert not set(HEAVY) & set(packages)


def test_completion_imports_nothing_heavy() -> None:
    asked = {"_EADBENCH_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "eadbench re"}
    text, code, packages = started(**asked)
    assert "report" in text and "claims" not in text and code == 0
    assert not set(HEAVY) & set(packages)


@pytest.mark.parametrize("name", COMMANDS)
def test_summaries_are_those_of_the_commands(name: str) -> None:
    entry = COMMANDS[name]
    function = getattr(import_module(f"eadbench.{entry.module}"), name)
    assert (inspect.getdoc(function) or "").partition("\n")[0] == entry.summary


def test_the_version_is_that_of_the_package() -> None:
    pyproject = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    assert f'version = "{eadbench("--version").out.split()[1]}"' in pyproject


def test_a_spec_that_comes_with_eadbench_is_named_without_a_path(tmp_path: Path) -> None:
    assert eadbench("plan", "digits", "--scale", "tiny").code == 2  # it has no such scale
    planned = eadbench("plan", "digits", "--set", "images.count=2")
    assert planned.code == 0 and planned.out.startswith("digits: digits, ")
    Path("digits").write_text("name: mine")
    assert "digits: dataset: is missing" in eadbench("plan", "digits").err
    for name in ("../sweeps/digits", "digit"):
        assert "cannot be read: No such file" in eadbench("plan", name).err
