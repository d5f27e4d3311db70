"""Networks of other people's code, checked in a process that is forked and not started.

`eadbench` starts a process of its own to check them, which imports torch for seconds. In a fork of a process that has
imported everything, their code may end or hang as well.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from benchmarks.points import forks
from eadbench.harness.execution import check_process

__all__ = ["forked_checks"]


class Forking:
    """What `check_process` needs of the module `subprocess`."""

    DEVNULL, TimeoutExpired = subprocess.DEVNULL, subprocess.TimeoutExpired

    @staticmethod
    def run(
        command: Sequence[str], *, env: Mapping[str, str], stderr: BinaryIO, timeout: float, **_: Any
    ) -> "subprocess.CompletedProcess[str]":
        """Do what the command ``python -m eadbench.harness.execution.check_process FOLDER`` does."""
        assert command[1:3] == ["-m", check_process.__name__]
        process = forks().Process(target=_check, args=(command[3], os.getcwd(), dict(env), stderr.name))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(command, timeout)
        assert process.exitcode is not None
        return subprocess.CompletedProcess(command, process.exitcode)


def _check(folder: str, place: str, environment: Mapping[str, str], errors: str) -> None:
    """Check the victims in a folder, in this process."""
    os.chdir(place)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = [place, *environment["PYTHONPATH"].split(os.pathsep)]
    with open(errors, "wb") as file:
        os.dup2(file.fileno(), 2)
    check_process._main(Path(folder))


@contextmanager
def forked_checks() -> Iterator[None]:
    """Check networks of other people's code in forks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check_process, "subprocess", Forking)
        yield
