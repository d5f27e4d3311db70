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


class Actor(NamedTuple):
    """The process of a worker."""

    pid: int
    title: str
    """Of the task that it is in; :data:`IDLE` while there is none."""


class Nodes:
    """A context manager: a head without cores, and so many nodes of so many cores and GPUs (in name only) each."""

    def __init__(self, count: int, *, cpus: int, gpus: int = 0) -> None:
        self._count, self._each = count, {"num_cpus": cpus, "num_gpus": gpus}
        self._nodes: list[Any] = []

    def __enter__(self) -> Self:
        if "RAY_TMPDIR" not in os.environ:  # short, because Ray's sockets are there
            os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="ray")
            (Path(os.environ["RAY_TMPDIR"]) / "ray").mkdir()
        os.environ |= {"RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"}
        import_module("harness.cluster")  # it sets what Ray reads from the environment
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
        """What `--address` takes."""
        return str(self._cluster.address)

    def add(self) -> None:
        """Add a node, which is soon there; from the main thread only."""
        self._nodes.append(self._cluster.add_node(wait=False, **self._each))

    def remove(self, draw: random.Random) -> None:
        """Kill every process of some node."""
        self._cluster.remove_node(self._nodes.pop(draw.randrange(len(self._nodes))), allow_graceful=False)

    def actors(self) -> list[Actor]:
        """Every worker on the nodes."""
        found = []
        for node in self._nodes:
            raylet = node.all_processes["raylet"][0].process.pid
            for children in Path(f"/proc/{raylet}").glob("task/*/children"):
                for pid in children.read_text().split():
                    with suppress(OSError):  # it has ended
                        kind, _, title = Path(f"/proc/{pid}/cmdline").read_text().strip("\0 ").partition("::")
                        if kind == "ray" and not title.endswith(("Agent", "IDLE")):
                            found.append(Actor(int(pid), title))
        return sorted(found)
