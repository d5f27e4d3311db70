"""A Ray cluster of several nodes on this machine."""

import os
import random
import tempfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

IDLE = "RemoteWorker"
"""The title of a worker without a task."""


class Actor(NamedTuple):
    """The process of a worker."""

    pid: int
    title: str
    """The title of its task, or :data:`IDLE`."""


class Nodes:
    """A context manager: a cluster with a head without cores, and `count` nodes.

    Parameters
    ----------
    cpus, gpus
        Cores and GPUs of each node; Ray counts them, but the machine need not have them.
    """

    def __init__(self, count: int, *, cpus: int, gpus: int = 0) -> None:
        self._count, self._resources = count, {"num_cpus": cpus, "num_gpus": gpus}
        self._nodes: list[Any] = []

    def __enter__(self) -> Self:
        if "RAY_TMPDIR" not in os.environ:  # a short path, because Ray puts its sockets there
            os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="ray")
            (Path(os.environ["RAY_TMPDIR"]) / "ray").mkdir()
        os.environ |= {"RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"}
        import_module("eadbench.harness.execution.ray")  # sets Ray's environment variables
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for _ in range(self._count):
            self.add()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cluster.shutdown()

    @property
    def address(self) -> str:
        """The value of `--address`."""
        return str(self._cluster.address)

    def add(self) -> None:
        """Start a node, without waiting for it. Call this from the main thread only."""
        self._nodes.append(self._cluster.add_node(wait=False, **self._resources))

    def remove(self, draw: random.Random) -> None:
        """Kill every process of a node drawn at random."""
        self._cluster.remove_node(self._nodes.pop(draw.randrange(len(self._nodes))), allow_graceful=False)

    def actors(self) -> list[Actor]:
        """Return every worker on the nodes."""
        actors = []
        for node in self._nodes:
            raylet = node.all_processes["raylet"][0].process.pid
            for children in Path(f"/proc/{raylet}").glob("task/*/children"):
                for pid in children.read_text().split():
                    with suppress(OSError):  # the process has ended
                        kind, _, title = Path(f"/proc/{pid}/cmdline").read_text().strip("\0 ").partition("::")
                        if kind == "ray" and not title.endswith(("Agent", "IDLE")):
                            actors.append(Actor(int(pid), title))
        return sorted(actors)
