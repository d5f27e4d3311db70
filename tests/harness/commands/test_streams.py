"""What is printed, on consoles of few characters and on streams that fail."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from eadbench.harness.commands.streams import SPELLED, steady
from tests.sweeps import run, small

TEXT = "β = 1e-3, κ ≥ 0 · L∞ ‖δ‖₁ … ✓ José 漢"


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", TEXT),
        ("iso-8859-1", "beta = 1e-3, kappa >= 0 · Linf |delta|1 ... yes José ?"),
        ("ascii", "beta = 1e-3, kappa >= 0 - Linf |delta|1 ... yes Jose ?"),
        ("cp1252", "beta = 1e-3, kappa >= 0 · Linf |delta|1 … yes José ?"),
    ],
)
def test_characters_that_an_encoding_lacks_are_spelled(encoding: str, text: str) -> None:
    held = io.BytesIO()
    stream = steady(io.TextIOWrapper(held, encoding=encoding))
    stream.write(TEXT)
    stream.flush()
    assert held.getvalue().decode(encoding) == text


def test_every_spelling_is_ascii() -> None:
    assert all(text.isascii() and text for text in SPELLED.values())


@pytest.mark.parametrize("place", ["pipe", "full"])
def test_a_stream_that_fails_is_written_to_no_more(place: str) -> None:
    if place == "pipe":
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open("/dev/full", os.O_WRONLY)
    with os.fdopen(writer, "w") as file:
        stream = steady(file)
        for _ in range(3):
            assert stream.write("x" * 100_000) == 100_000
            stream.flush()


def test_a_command_on_a_latin_1_console_whose_errors_nobody_reads(tmp_path: Path) -> None:
    """The results are of κ = 0, whose letter is in no Latin-1."""
    run(small(attacks=[{"name": "ead", "binary_search_steps": 1, "max_iterations": 2}]), tmp_path / "sweep")
    reader, writer = os.pipe()
    os.close(reader)
    command = "from eadbench.harness.cli import main; main()"
    environment = {**os.environ, "PYTHONIOENCODING": "iso-8859-1", "COLUMNS": "160"}
    ended = subprocess.run(
        [sys.executable, "-c", command, "report", str(tmp_path / "sweep")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=writer,
        timeout=120,
        check=True,
    )
    os.close(writer)
    assert "kappa" in ended.stdout.decode("latin-1") and "?" not in ended.stdout.decode("latin-1")
