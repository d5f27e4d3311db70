"""The workers of a run: started, greeted when they are ready, and replaced when they are lost."""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from eadbench.harness.errors import EnvironmentFault, UserError
from eadbench.harness.execution.ray import connection
from eadbench.harness.execution.ray.actor import REMOTE
from eadbench.harness.plan.tasks import Setup
from eadbench.harness.spec.schema import Resources

PATIENCE = 900.0
"""Seconds without any worker after which a run ends."""

STILLBORN = 5
"""Workers in a row that may end before they are ready; after that, no more are started until the nodes change."""


@dataclass(eq=False, kw_only=True)
class Member:
    """A worker, ready or not."""

    name: str
    handle: Any
    hello: Any
    """The reference to its :class:`Hello`; None once it has said it."""
    busy: bool = False


class Team:
    """As many workers as the spec allows and the cluster has room for, while that changes.

    Where the spec says how many, as many are started and those that find no room wait for it: that is what an
    autoscaler adds nodes for. Where it does not, there are as many as fit on the nodes that are there.

    Parameters
    ----------
    local
        Whether the cluster is this machine, which does not grow.
    marks
        Files that every worker must see.
    staffed
        Told how many workers are ready, whenever that changes.
    warn
        Told of workers that cannot be had, and once of a GPU that torch cannot use.

    Raises
    ------
    UserError
        A cluster that does not grow has no room for the workers asked for.
    """

    def __init__(
        self,
        setup: Setup,
        resources: Resources,
        data: Any,
        *,
        local: bool,
        marks: Sequence[Path],
        staffed: Callable[[int], None],
        warn: Callable[[str], None],
    ) -> None:
        self._setup, self._data, self._marks, self._staffed, self._warn = setup, data, marks, staffed, warn
        self._warned = False
        self._most, self._local = resources.workers, local
        self._each = connection.needs(resources)
        self._options = connection.options(self._each, resources.threads)
        self._members: list[Member] = []
        self._started = self._stillborn = 0
        self._cap: int | None = None
        """As many as were left when others could not be had; of the nodes `_capped_on`."""
        self._capped_on: frozenset[str] = frozenset()
        self._last_ready = time.monotonic()
        if local:
            _check_fit(self._most, self._each)

    def names(self) -> list[str]:
        """Of all workers, ready or not."""
        return [member.name for member in self._members]

    def idle(self) -> list[Member]:
        """The workers that are ready and do nothing."""
        return [member for member in self._members if member.hello is None and not member.busy]

    def greetings(self) -> list[Any]:
        """What to wait for, of workers that are not ready yet."""
        return [member.hello for member in self._members if member.hello is not None]

    def adjust(self, waiting: Callable[[int], int]) -> None:
        """Start or give up workers, so that there are as many as can be of use.

        Parameters
        ----------
        waiting
            Given a number, how many tasks wait for a worker, counted up to it.

        Raises
        ------
        EnvironmentFault
            There has been no worker for :data:`PATIENCE` seconds.
        """
        target = self._target()
        busy = sum(member.busy for member in self._members)
        for _ in range(min(target, busy + waiting(target)) - len(self._members)):
            self._start()
        for member in [member for member in self._members if member.hello is not None][::-1]:
            if len(self._members) > target:
                self._remove(member)
        if any(member.hello is None for member in self._members):
            self._last_ready = time.monotonic()
        elif self._members and time.monotonic() - self._last_ready > PATIENCE:
            there = [connection.in_words(node) for node in connection.nodes()]
            raise EnvironmentFault(
                f"no worker could run for {PATIENCE / 60:.0f} minutes: each needs {connection.in_words(self._each)}, "
                f"and the nodes have {'; '.join(there) or 'gone'}; what is done stays, run again to go on"
            )

    def greet(self, hello: Any) -> None:
        """Take in a worker that has said hello, or failed to.

        Raises
        ------
        EnvironmentFault
            It does not see the results, or too many in a row never came to be and there is no other.
        """
        member = next(member for member in self._members if member.hello is hello)
        try:
            said = ray.get(hello)
        except RayError as fault:
            self.lost(member)
            self._stillborn += 1
            if self._stillborn >= STILLBORN:
                self._stop_growing(fault)
            return
        if said.unseen is not None:
            raise EnvironmentFault(
                f"node {said.node} does not see {said.unseen}: with more than one node, --results and --models must be "
                "folders that all of them share (NFS, EFS, Lustre), or URIs such as s3://bucket/sweep"
            )
        if said.idle_gpu and not self._warned:
            self._warned = True
            self._warn(
                f"{member.name} on node {said.node} holds a GPU that torch cannot use, and computes on CPU cores: its "
                "torch has no CUDA, or the node no driver for it"
            )
        member.hello, self._stillborn = None, 0
        self._tell()

    def lost(self, member: Member) -> None:
        """Give up a worker that has ended."""
        self._remove(member)
        self._tell()

    def _target(self) -> int:
        target = max(1, connection.room(self._each)) if self._most is None else self._most
        if self._cap is not None and connection.node_ids() != self._capped_on:
            self._cap = None
        return target if self._cap is None else min(target, self._cap)

    def _stop_growing(self, fault: RayError) -> None:
        """Be content, on these nodes, with the workers that are ready, or else with those that may still be."""
        if not self._members:
            raise EnvironmentFault(f"workers end before they are ready: {_cause(fault)}") from fault
        ready = sum(member.hello is None for member in self._members)
        self._cap, self._capped_on, self._stillborn = ready or len(self._members), connection.node_ids(), 0
        self._warn(f"{self._cap} workers at most on these nodes, as others end before they are ready: {_cause(fault)}")

    def _start(self) -> None:
        self._started += 1
        name = f"worker-{self._started}"
        handle = REMOTE.options(**self._options).remote(self._setup, name, [self._data])
        self._members.append(Member(name=name, handle=handle, hello=handle.hello.remote(self._marks)))

    def _remove(self, member: Member) -> None:
        self._members.remove(member)
        ray.kill(member.handle)

    def _tell(self) -> None:
        self._staffed(sum(member.hello is None for member in self._members))


def _check_fit(asked: int | None, each: Mapping[str, float]) -> None:
    fit = connection.room(each)
    if (asked or 1) <= fit:
        return
    there = connection.in_words(_sum(connection.nodes()))
    raise UserError(
        f"resources: {asked or 1} workers of {connection.in_words(each)} each do not fit on this machine's {there}; "
        + ("ask for fewer workers" if fit else "ask for less per worker")
    )


def _sum(nodes: Iterable[Mapping[str, float]]) -> dict[str, float]:
    nodes = list(nodes)
    return {kind: sum(node.get(kind, 0) for node in nodes) for kind in ("GPU", "CPU", "memory")}


def _cause(fault: Exception) -> str:
    """The last line of Ray's message that names an error, or else its last line."""
    if "out of memory" in str(fault):  # Ray says so in a paragraph, whose error may be of several kinds
        return "the node is short of memory; ask for fewer workers, or set resources.memory to what one takes"
    lines = str(fault).strip().splitlines()
    named = [line.strip() for line in lines if re.match(r"\s*[\w.]*(Error|Exception): ", line)]
    return (named or lines)[-1]
