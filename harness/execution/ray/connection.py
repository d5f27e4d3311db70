"""Joining a Ray cluster, or starting one here; and how many workers it has room for."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import ray

from eadbench.harness.errors import EnvironmentFault
from eadbench.harness.spec.schema import Resources
from eadbench.models.code import NO_CODE


def connect(address: str | None, code: Sequence[str]) -> None:
    """Join the cluster at `address`, which is sent the code at those paths; or start one of this machine.

    Raises
    ------
    EnvironmentFault
        No cluster answers at the address.
    """
    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if address is None:
        ray.init("local", num_cpus=len(os.sched_getaffinity(0)), include_dashboard=False, **quiet)
        return
    trust = {NO_CODE: os.environ.get(NO_CODE, "")}
    try:
        ray.init(address, runtime_env={"py_modules": list(code), "env_vars": trust}, **quiet)
    except (ConnectionError, TimeoutError, RuntimeError, ValueError) as fault:
        reason = " ".join(str(fault).split())
        raise EnvironmentFault(
            f"--address {address}: no Ray cluster answers there ({reason}); "
            "where Ray asks for a token, set RAY_AUTH_MODE=token"
        ) from fault


def needs(resources: Resources) -> dict[str, float]:
    """What each worker asks of a node, by Ray's names: a GPU where there are any, else a core for each thread."""
    gpus = resources.gpus
    if gpus is None:
        gpus = 1.0 if any(node.get("GPU", 0) >= 1 for node in nodes()) else 0.0
    cpus = resources.cpus or (1.0 if gpus else float(resources.threads))
    return {"GPU": gpus, "CPU": cpus, "memory": float(resources.memory or 0)}


def options(each: Mapping[str, float], threads: int) -> dict[str, Any]:
    """An actor's options: what :func:`needs` says, and as many threads of the numeric libraries."""
    environment = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    asked: dict[str, Any] = {"num_gpus": each["GPU"], "num_cpus": each["CPU"]}
    if each["memory"]:
        asked["memory"] = each["memory"]
    return asked if each["GPU"] else asked | {"runtime_env": {"env_vars": environment}}


def room(each: Mapping[str, float]) -> int:
    """How many workers that ask for `each` the nodes have room for, if nothing else runs on them."""
    asked = {kind: amount for kind, amount in each.items() if amount}
    return sum(min(int(node.get(kind, 0) / amount + 1e-6) for kind, amount in asked.items()) for node in nodes())


def nodes() -> list[dict[str, float]]:
    """What each node that is alive has, by kind."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def node_ids() -> frozenset[str]:
    """The nodes that are alive."""
    return frozenset(node["NodeID"] for node in ray.nodes() if node["Alive"])  # type: ignore[no-untyped-call]


def in_words(amounts: Mapping[str, float]) -> str:
    """Such as ``0.5 GPU, 1 CPU, 8 GiB memory``."""
    found = [f"{amounts[kind]:g} {kind}" for kind in ("GPU", "CPU") if amounts.get(kind)]
    if amounts.get("memory"):
        found.append(f"{amounts['memory'] / 2**30:.3g} GiB memory")
    return ", ".join(found) or "nothing"
