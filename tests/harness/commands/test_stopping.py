"""Signals: a command ends with 128 + the signal and one line, and its workers with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.harness.commands.spec_files import spec_file

COMMAND = """\
import signal

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and so do those of nohup

from eadbench.harness.cli import main

main()
"""
LONG = {"attacks": [{"name": "ead", "max_iterations": 10_000, "abort_early": False}], "shard_size": 3}


@pytest.mark.parametrize(
    ("executor", "number"),
    [
        ("serial", signal.SIGINT),
        ("serial", signal.SIGHUP),
        ("ray", signal.SIGTERM),
        pytest.param("ray", signal.SIGINT, marks=pytest.mark.cluster),
    ],
)
def test_a_signal_ends_a_run(executor: str, number: signal.Signals, tmp_path: Path) -> None:
    arguments = ["run", str(spec_file(**LONG)), "--executor", executor, "--results", str(tmp_path / "sweep")]
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments, "--set", "resources.workers=1"], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            while not (tmp_path / "sweep" / "victims.json").is_file():  # written before the attacks begin
                assert process.poll() is None
                time.sleep(0.1)
            time.sleep(1)
            children = _children(process.pid)
            os.kill(process.pid, number)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()  # or leaving the block would wait for ever
    assert process.returncode == 128 + number
    assert f"error: stopped by {number.name}; workers have been ended, what is committed stays" in errors
    assert "Traceback" not in errors
    assert bool(children) == (executor == "ray")
    assert not [child for child in children if _runs(child)]


def _children(parent: int) -> list[int]:
    listing = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listing.splitlines()[1:]]
    direct = [pid for pid, its_parent in pairs if its_parent == parent]
    return direct + [below for pid in direct for below in _children(pid)]


def _runs(pid: int) -> bool:
    """Whether a process is still there a few seconds later, and not only waits for its parent."""
    for _ in range(50):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        if state == "Z":
            return False
        time.sleep(0.1)
    return True
