"""The owner of a results folder: only one command at a time may write there.

`DIR/owner.json` names the owner, whose heartbeat changes the file every few seconds. The owner deletes it when it ends.
If the owner was killed, the next command takes the folder over: at once if it sees that the process is gone, else when
the heartbeat has stood still for a minute.

`DIR/cancel.json` names an owner that is asked to stop; its heartbeat sees it.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from eadbench.harness.errors import EnvironmentFault
from eadbench.harness.results.owner_record import (
    OwnerRecord,
    decoded,
    encoded,
    has_ended,
    machine,
    own_record,
    process_started,
)
from eadbench.harness.storage import is_local, read_at_most
from eadbench.models import lock, replace_file

__all__ = ["CANCEL", "FILE", "FolderInUse", "Owner", "OwnerRecord", "working_in"]

FILE = "owner.json"
CANCEL = "cancel.json"
MOST_BYTES = 2**20
"""Bytes of the file that are read."""
BEAT = 5.0
"""Seconds between two heartbeats."""
PATIENCE = 60.0
"""Seconds without a heartbeat after which an owner on another machine counts as dead."""
SETTLE = 2.0
"""Seconds after which two commands that took a folder of an object store over at once see which was the last."""


class FolderInUse(EnvironmentFault):
    """Another command owns the folder."""


class Owner:
    """A context manager that owns a results folder from :meth:`claim` to its exit.

    Parameters
    ----------
    root
        The results folder.
    say
        Called with a line before a wait and after a takeover.
    patience, beat
        Seconds; see :data:`PATIENCE` and :data:`BEAT`.
    """

    def __init__(
        self, root: Path, say: Callable[[str], None], *, patience: float = PATIENCE, beat: float = BEAT
    ) -> None:
        self._root, self._file, self._say = root, root / FILE, say
        self._patience, self._beat = patience, beat
        self._record: OwnerRecord | None = None
        self._successor: bytes | None = None
        self._asked_to_stop = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, daemon=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._record is None:
            return
        self._stop.set()
        self._thread.join()
        with suppress(OSError, EnvironmentFault):  # the next command sees that this process is gone
            if self._is_mine(_content_of(self._file)):
                (self._root / CANCEL).unlink(missing_ok=True)
                self._file.unlink(missing_ok=True)

    @property
    def held(self) -> bool:
        """Whether the folder has been claimed."""
        return self._record is not None

    @property
    def asked_to_stop(self) -> bool:
        """Whether `eadbench cancel` has named this owner; known at the next heartbeat."""
        return self._asked_to_stop

    def claim(self) -> None:
        """Become the owner.

        Raises
        ------
        FolderInUse
            Another command owns the folder and runs.
        OSError
            The folder cannot be written to.
        """
        if self.held:
            return
        dead: bytes | None = None
        while not self._take(dead):
            if (content := _content_of(self._file)) is not None:
                self._check_dead(content)
            dead = content
        self._thread.start()

    def check(self) -> None:
        """Check that no other command has taken the folder over, as it may if this one was suspended for long.

        Raises
        ------
        FolderInUse
            Another command owns the folder now.
        """
        if self._successor is not None:
            raise self._in_use(self._successor, "took over")

    def _take(self, dead: bytes | None) -> bool:
        """Write the record if the file is missing, or as the dead owner left it. Return whether it was written."""
        record = own_record()
        content = encoded(record)
        with lock(self._file):  # an object store has no locks
            if dead is not None:
                if _content_of(self._file) != dead:
                    return False
                replace_file(self._file, content)
            elif not _create(self._file, content):
                return False
        if dead is not None and not is_local(self._file):
            time.sleep(SETTLE)
            if _content_of(self._file) != content:
                return False
        self._record = record
        return True

    def _check_dead(self, content: bytes) -> None:
        """Return if the owner is dead: its process is gone, or its heartbeat stands still.

        Raises
        ------
        FolderInUse
            The owner runs.
        """
        owner = decoded(content)
        if owner is None or not owner.machine or owner.machine != machine():
            self._watch(content)
        elif process_started(owner.pid) == owner.process_started:
            raise self._in_use(content)
        else:
            self._say(f"{self._root}: takes over from {owner}: its process has ended")

    def _watch(self, content: bytes) -> None:
        """Wait until the heartbeat has stood still for long enough.

        Raises
        ------
        FolderInUse
            The heartbeat goes on.
        """
        name = decoded(content) or f"an unknown owner ({FILE} is damaged)"
        if self._patience:
            self._say(f"{self._root}: waits up to {self._patience:.0f} s to see whether {name} still runs")
        end = time.monotonic() + self._patience
        while time.monotonic() < end:
            time.sleep(min(1.0, self._patience / 10))
            now = _content_of(self._file)
            if now is None:
                return
            if now != content:
                raise self._in_use(now)
        if not self._patience:
            raise self._in_use(content)
        self._say(f"{self._root}: takes over from {name}: no heartbeat for {self._patience:.0f} s")

    def _in_use(self, content: bytes, verb: str = "works in") -> FolderInUse:
        owner = decoded(content) or "another command"
        return FolderInUse(
            f"{self._root}: {owner}, {verb} this folder; one command at a time may write there: wait for it to end, "
            "or give another --results"
        )

    def _keep_beating(self) -> None:
        """Change the file until this owner ends, or another one takes over."""
        while not self._stop.wait(self._beat):
            with suppress(OSError, EnvironmentFault):  # tried again at the next beat
                content = _content_of(self._file)
                if content is not None and not self._is_mine(content):
                    self._successor = content
                    return
                assert self._record is not None
                self._record = replace(self._record, beat=self._record.beat + 1)
                replace_file(self._file, encoded(self._record))
                self._asked_to_stop |= self._is_mine(_content_of(self._root / CANCEL))

    def _is_mine(self, content: bytes | None) -> bool:
        owner = None if content is None else decoded(content)
        return owner is not None and self._record is not None and owner.id == self._record.id


def working_in(root: Path) -> OwnerRecord | None:
    """Return the command that works in a results folder, as far as can be seen at once; None if there is none."""
    content = _content_of(root / FILE)
    owner = None if content is None else decoded(content)
    return None if owner is None or has_ended(owner) else owner


def _content_of(file: Path) -> bytes | None:
    try:
        return read_at_most(file, MOST_BYTES)
    except FileNotFoundError:
        return None


def _create(file: Path, content: bytes) -> bool:
    """Write a file unless it exists. Return whether it was written. A local file needs the caller's lock."""
    if is_local(file):
        if file.exists():
            return False
        replace_file(file, content)
        return True
    remote: Any = file
    try:
        remote.fs.pipe_file(remote.path, content, mode="create")
    except FileExistsError:  # by this very request, if its first answer was lost and the client repeated it
        with suppress(FileNotFoundError):
            return read_at_most(file, MOST_BYTES) == content
        return False
    return True
