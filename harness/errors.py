"""The errors that the harness raises on purpose.

::

    EadbenchError
    ├── UserError            a mistake in a spec, an option or a file of the user's (exit code 2)
    │   └── NotHere          data that are not on this machine, and were not fetched
    ├── DamagedResults       a file of a results folder is damaged (exit code 4)
    ├── Stopped              a signal stopped the command (exit code 128 + its number)
    ├── Cancelled            `eadbench cancel` stopped the command (exit code 130)
    ├── VictimFailed         a victim could not be made (exit code 3)
    └── EnvironmentFault     the machine, the network or the cluster failed (exit code 1)
        └── TrackingFault    MLflow cannot be written to; the results are safe

Each message is one line: what is wrong, where, and what would be right. Any other exception that escapes is a bug.
"""

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Self

__all__ = [
    "Cancelled",
    "DamagedResults",
    "EadbenchError",
    "EnvironmentFault",
    "NotHere",
    "Stopped",
    "TrackingFault",
    "UserError",
    "VictimFailed",
]


class EadbenchError(Exception):
    """Base class of every error that eadbench raises on purpose."""

    exit_code = 1


class UserError(EadbenchError):
    """The user asked for something impossible; the message says what would be right."""

    exit_code = 2


class NotHere(UserError):
    """A data set is not on this machine, and could or should not be fetched."""


class Stopped(EadbenchError):
    """A signal stopped the command."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(
            f"stopped by {number.name}; workers have been ended, what is committed stays, "
            "and the same command goes on from there"
        )
        self.exit_code = 128 + number


class VictimFailed(EadbenchError):
    """A victim could not be made ready; running again tries it again."""

    exit_code = 3


class Cancelled(EadbenchError):
    """`eadbench cancel` stopped the command after its running tasks."""

    exit_code = 128 + signal.SIGINT

    def __init__(self) -> None:
        super().__init__(
            "cancelled by `eadbench cancel`; running tasks have been finished, what is committed stays, and the same "
            "command goes on from there"
        )


class DamagedResults(EadbenchError):
    """A file of a results folder is not as it was written; the message names the file and the remedy.

    Attributes
    ----------
    files
        The damaged files, if they were found by :meth:`of`.
    """

    exit_code = 4
    files: Sequence[Path] = ()

    @classmethod
    def of(cls, files: Path | Sequence[Path], problem: str) -> Self:
        """Return the error of files that `eadbench verify` finds."""
        files = [files] if isinstance(files, Path) else files
        names = " and ".join(map(str, files))
        error = cls(f"{names}: {problem}; `eadbench verify DIR --repair` sets damaged files aside, then run again")
        error.files = files
        return error


class EnvironmentFault(EadbenchError):
    """Something outside the project failed: a lost node, a full disk, a server that does not answer."""


class TrackingFault(EnvironmentFault):
    """MLflow cannot be written to. The results are safe, and `eadbench log` writes what is missing."""
