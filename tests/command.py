"""The command `eadbench`, in this process."""

import contextlib
import io
import sys
from typing import NamedTuple

import pytest

from eadbench.harness import cli
from eadbench.harness.commands import options
from eadbench.harness.places import FILES
from eadbench.models.code import NO_CODE


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


def eadbench(*arguments: object) -> Ended:
    """Run the command; whatever it lets through but its exit is a bug of it."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        for console in (options.out, options.err):  # a worker of pytest-xdist has fixed their width to 80 by now
            patch.setattr(console, "width", 160)
        patch.setenv("COLUMNS", "160")
        patch.setenv(NO_CODE, "")
        patch.setenv(FILES, "")
        patch.setattr(sys, "argv", ["eadbench", *map(str, arguments)])
        patch.setattr(options.out, "file", out)
        patch.setattr(options.err, "file", err)
        with pytest.raises(SystemExit) as ended:
            cli.main()
    return Ended(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def refusal(ended: Ended) -> str:
    """The one line that a command has ended with, without its `error:`."""
    [line] = ended.err.strip().split("\n")
    assert line.startswith("error: "), line
    return line.removeprefix("error: ")
