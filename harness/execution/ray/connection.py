"""Join a Ray cluster or start one on this machine."""

import os
import secrets
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from eadbench.harness.errors import EnvironmentFault
from eadbench.harness.execution.ray.tokens import check_token
from eadbench.harness.home import ensure_home
from eadbench.harness.messages import one_line
from eadbench.models.code import NO_CODE

_SOCKET_BYTES = len("/ray/session_2026-11-26_09-30-59_123456_1234567/sockets/plasma_store.12")
"""Bytes of a socket's path below the folder for temporary files."""

_QUIET: Mapping[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}


def connect(address: str | None, code: Sequence[str]) -> None:
    """Join the cluster at `address` and send it the code at those paths, or start a cluster of this machine.

    Raises
    ------
    EnvironmentFault
        No cluster answers at the address, Ray does not start on this machine, or no folder is fit for its sockets.
    """
    with _own_handler_of_sigterm():
        if address is None:
            _start()
        else:
            _join(address, code)


def _start() -> None:
    """Start a cluster of this machine."""
    ensure_home()
    if not home_holds_token(os.environ):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # Ray's processes inherit it
    cores = len(os.sched_getaffinity(0))
    folder = sockets_folder(os.environ)
    try:
        ray.init("local", num_cpus=cores, include_dashboard=False, _temp_dir=folder, **_QUIET)
    except Exception as fault:  # Ray raises bare exceptions, and what its processes raise
        ray.shutdown()
        raise EnvironmentFault(
            f"Ray did not start on this machine ({one_line(fault)[:200]}); nothing is lost: run again when the machine "
            "has less to do, or with --executor serial"
        ) from fault


def _join(address: str, code: Sequence[str]) -> None:
    """Join the cluster at `address`, and send it the code at those paths."""
    check_token(address)
    environment = {NO_CODE: os.environ.get(NO_CODE, "")}
    try:
        ray.init(address, runtime_env={"py_modules": list(code), "env_vars": environment}, **_QUIET)
    except (ConnectionError, TimeoutError, RuntimeError, ValueError) as fault:
        reason = " ".join(str(fault).split())
        raise EnvironmentFault(
            f"--address {address}: no Ray cluster answers there ({reason}); "
            "where Ray asks for a token, set RAY_AUTH_MODE=token"
        ) from fault


@contextmanager
def _own_handler_of_sigterm() -> Iterator[None]:
    """Keep the command's handler of SIGTERM inside the block, where Ray sets one that exits with code 15."""
    handler = signal.getsignal(signal.SIGTERM)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield
        return
    try:
        yield
    except SystemExit:
        handler(signal.SIGTERM, None)
        raise
    finally:
        signal.signal(signal.SIGTERM, handler)


def home_holds_token(environment: Mapping[str, str]) -> bool:
    """Return whether Ray finds a token, needs none, or can write one into the home folder."""
    if environment.get("RAY_AUTH_MODE", "token").lower() != "token":
        return True
    if environment.get("RAY_AUTH_TOKEN") or environment.get("RAY_AUTH_TOKEN_PATH"):
        return True
    folder = Path.home() / ".ray"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder / "auth_token", os.R_OK) or os.access(folder, os.W_OK)


def sockets_folder(environment: Mapping[str, str]) -> str | None:
    """Return a folder for Ray's sockets, whose path Linux limits to 107 bytes; None where Ray's own choice is fit.

    Raises
    ------
    EnvironmentFault
        The folder for temporary files has a long path, and /tmp cannot be written to.
    """
    folder = environment.get("RAY_TMPDIR") or environment.get("TMPDIR") or "/tmp"
    if len(os.fsencode(folder)) + _SOCKET_BYTES <= 107:
        return None
    if os.access("/tmp", os.W_OK):
        return "/tmp/ray"
    raise EnvironmentFault(
        f"{folder}: its path is too long for Ray's sockets; set RAY_TMPDIR to a folder like /scratch/r"
    )


def options(amounts: Mapping[str, float], threads: int) -> dict[str, Any]:
    """Return an actor's options: the amounts of :func:`needs`, and the threads of numeric libraries on a CPU."""
    environment = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    actor: dict[str, Any] = {"num_gpus": amounts["GPU"], "num_cpus": amounts["CPU"]}
    if amounts["memory"]:
        actor["memory"] = amounts["memory"]
    return actor if amounts["GPU"] else actor | {"runtime_env": {"env_vars": environment}}


def nodes() -> list[dict[str, float]]:
    """Return the resources of each node that is alive, by kind."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def node_ids() -> frozenset[str]:
    """Return the ids of the nodes that are alive."""
    return frozenset(node["NodeID"] for node in ray.nodes() if node["Alive"])  # type: ignore[no-untyped-call]
