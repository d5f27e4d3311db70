"""The executor that a command or a notebook asks for."""

from typing import Any, Literal, get_args

from eadbench.harness.errors import UserError
from eadbench.harness.execution.executor import Executor as Workers
from eadbench.harness.execution.runner import MakeExecutor
from eadbench.harness.execution.serial import SerialExecutor
from eadbench.harness.spec import Spec

__all__ = ["workers"]

_NAMES = Literal["ray", "serial"]


def workers(spec: Spec, executor: _NAMES, address: str | None) -> MakeExecutor:
    """Return what starts the workers of a sweep. Ray is imported only if it is asked for.

    Raises
    ------
    UserError
        There is no such executor, or it does not go with the address.
    """
    if executor not in get_args(_NAMES):
        raise UserError(f"executor: must be {' or '.join(get_args(_NAMES))}, got {executor!r}")
    if executor == "serial" and address is not None:
        raise UserError(f"address: {address} is of a Ray cluster, and the executor serial uses none; leave out one")

    def make(setup: Any, data: Any, progress: Any) -> Workers:
        if executor == "serial":
            if spec.resources.timeout is not None:
                progress.warn("resources.timeout: the executor serial has no other process that could end a task")
            return SerialExecutor(setup, data, progress)
        from eadbench.harness.execution.ray import RayExecutor

        return RayExecutor(setup, data, progress, address=address, spec=spec)

    return make
