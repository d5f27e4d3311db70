"""Who owns a results folder: a process, on a machine, with heartbeats."""

import json
import os
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from eadbench.harness.messages import ago, one_line, printable

__all__ = ["OwnerRecord", "decoded", "encoded", "has_ended", "machine", "own_record", "process_started"]


@dataclass(frozen=True, kw_only=True)
class OwnerRecord:
    """Content of `owner.json`."""

    id: str
    host: str
    machine: str
    """The boot of the machine and the process namespace, in which `pid` means something; empty where unknown."""
    pid: int
    process_started: int | None
    """When the process started, in clock ticks since boot: a later process may have the same pid."""
    since: str
    """Time of the claim in ISO 8601, UTC."""
    beat: int = 0
    """Count of heartbeats."""

    def __str__(self) -> str:
        since = ago(datetime.fromisoformat(self.since).astimezone())
        return f"eadbench on {one_line(printable(self.host))} (pid {self.pid}), which began {since}"


_RECORD = TypeAdapter(OwnerRecord)


def own_record() -> OwnerRecord:
    """Return the record of this process."""
    pid = os.getpid()
    return OwnerRecord(
        id=uuid4().hex,
        host=socket.gethostname(),
        machine=machine(),
        pid=pid,
        process_started=process_started(pid),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def has_ended(owner: OwnerRecord) -> bool:
    """Return whether the process of an owner on this machine has ended."""
    return bool(owner.machine) and owner.machine == machine() and process_started(owner.pid) != owner.process_started


def encoded(record: OwnerRecord) -> bytes:
    """Return the file of a record."""
    return json.dumps(asdict(record)).encode()


def decoded(content: bytes) -> OwnerRecord | None:
    """Return the record in a file; None if the file is damaged."""
    try:
        record: OwnerRecord = _RECORD.validate_json(content)
        datetime.fromisoformat(record.since)
    except (ValidationError, ValueError):
        return None
    return record


def machine() -> str:
    """Return what two processes share if each sees the other's pid; empty if the system does not tell."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def process_started(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if it has ended."""
    try:
        # The name, in brackets, may hold spaces. State is the 3rd field of /proc/PID/stat, the start its 22nd.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
