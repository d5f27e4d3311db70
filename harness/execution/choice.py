"""The executor that a command or a notebook asks for."""

from typing import Any, Literal, get_args

from eadbench.harness.datasets import DATASETS, DataSet
from eadbench.harness.errors import UserError
from eadbench.harness.execution.executor import Executor as Workers
from eadbench.harness.execution.room import check_fit, this_machine
from eadbench.harness.execution.runner import MakeExecutor
from eadbench.harness.execution.serial import SerialExecutor
from eadbench.harness.execution.user_code import code_for
from eadbench.harness.spec import Spec

__all__ = ["check_workers", "workers"]

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


def check_workers(spec: Spec, executor: _NAMES, address: str | None, data: DataSet) -> None:
    """Check that the workers of a sweep can be started, and the data set be sent to them; nothing is started.

    Raises
    ------
    UserError
        They do not fit on this machine, or the code or the data cannot be sent to them.
    """
    workers(spec, executor, address)
    if executor == "serial":
        return
    code_for(spec)
    if address is None:
        check_fit(spec.resources, [this_machine()])
    else:
        from eadbench.harness.execution.ray.tokens import check_token

        check_token(address)
    if DATASETS.is_own(spec.dataset.name):  # those of this package can be sent, and Ray takes long to import
        from eadbench.harness.execution.ray.sending import check_sendable

        check_sendable(data)
