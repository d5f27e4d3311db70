"""The errors that the harness raises on purpose.

::

    EadbenchError
    ├── UserError            a mistake in a spec, a flag or a file the user named (exit code 2)
    └── EnvironmentFault     the machine, the network or the cluster failed, not the user
        └── TrackingFault    MLflow cannot be written to; the results are safe

Each carries one line: what is wrong, where, and what would be right. Anything else that escapes is a bug.
"""

__all__ = ["EadbenchError", "EnvironmentFault", "TrackingFault", "UserError"]


class EadbenchError(Exception):
    """Base of every error that eadbench raises on purpose."""

    exit_code = 1


class UserError(EadbenchError):
    """The user asked for something that cannot be; the message says what would be right."""

    exit_code = 2


class EnvironmentFault(EadbenchError):
    """Something outside the project failed: a lost node, a full disk, a server that does not answer."""


class TrackingFault(EnvironmentFault):
    """MLflow cannot be written to; the results are safe, and logging again writes what is missing."""
