"""What follows the work of a sweep: its report, the record of the invocation, and MLflow's runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from eadbench.harness.errors import TrackingFault
from eadbench.harness.frames import Results
from eadbench.harness.messages import redact
from eadbench.harness.reporting import report as reports
from eadbench.harness.results.lock import LOCK, attested, write_lock
from eadbench.harness.results.owner import FolderInUse, Owner
from eadbench.harness.tracking.uri import default_tracking_uri

if TYPE_CHECKING:
    from eadbench.harness.analysis.leaderboard import Board
    from eadbench.harness.execution.forecast import Forecast
    from eadbench.harness.execution.progress import Progress
    from eadbench.harness.execution.sweep import Done

__all__ = ["Ended", "Show", "conclude", "leaderboard_page", "pay", "write_page"]

Show = Callable[[Results], None]
"""Prints results before MLflow is told, which may take long."""
LOGGING_SECONDS = 300.0
"""Seconds that a run spends on MLflow; ``eadbench log`` does the rest."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a sweep ended."""

    results: Results
    done: "Done"
    """What was computed, and what failed."""
    warning: str
    """Why MLflow was not told, empty if it was; ``eadbench log`` tells it later."""
    forecast: "Forecast | None" = None
    """How long the attacks were expected to take, and took."""
    cost: float | None = None
    """What the workers cost, if a price was given."""


def conclude(
    results: Results,
    done: "Done",
    started: datetime,
    seconds: float,
    scale: str | None,
    progress: "Progress",
    show: Show | None = None,
) -> Ended:
    """Write the report, show it, and tell MLflow, if anything is new. The caller owns the folder."""
    from eadbench.harness.tracking import invocation

    folder, uri, warning = results.snapshot.folder, default_tracking_uri(results.folder), ""
    with progress.waiting("writing the report"):
        if not done.nothing:
            _keep(results, done, started, seconds, scale)
        elif not keep_owed(results):
            reports.write(folder, results.summary)
            if not (folder.root / LOCK).is_file():  # one that is there is not replaced: rows may have been changed
                write_lock(folder, attested(results.snapshot))
    if show is not None:
        with progress.paused():
            show(results)
    if not invocation.unlogged(folder):
        return Ended(results=results, done=done, warning="")
    with progress.waiting(f"logging to MLflow at {redact(uri)}"):
        try:
            invocation.log(folder, uri, seconds=LOGGING_SECONDS, waiting=progress.notice)
        except TrackingFault as fault:
            warning = str(fault)
        else:
            invocation.mark_logged(folder)
    return Ended(results=results, done=done, warning=warning)


def pay(results: Results, *, patience: float) -> None:
    """Write what a run that ended early did not, its record or report, unless a command works in the folder."""
    from eadbench.harness.tracking import invocation

    if not invocation.owed(results.snapshot.folder):
        return
    with Owner(results.folder, Console(stderr=True, markup=False).print, patience=patience) as owner:
        try:
            owner.claim()
        except FolderInUse:  # that command will keep its own record
            return
        keep_owed(results)


def keep_owed(results: Results) -> bool:
    """Write what a run that ended early did not, its record or report. Return whether there was one."""
    from eadbench.harness.tracking import invocation

    owed = invocation.owed(results.snapshot.folder)
    if owed:
        _keep(results, None, datetime.now().astimezone(), 0.0, None)
    return owed


def _keep(results: Results, done: "Done | None", started: datetime, seconds: float, scale: str | None) -> None:
    """Write the report of a sweep, and the record of an invocation for MLflow."""
    from eadbench.harness.tracking import invocation

    folder = results.snapshot.folder
    texts = {LOCK: write_lock(folder, attested(results.snapshot))} | reports.write(folder, results.summary)
    identity = invocation.keep(results.snapshot, done, results.summary, texts, started, seconds, scale=scale)
    write_page(results)
    invocation.keep_files(folder, results.summary, identity)


def write_page(results: Results) -> Path:
    """Write the report of a sweep as one HTML file, and return where it is."""
    from eadbench.dashboards import page

    return page.write(results.snapshot, results.summary)


def leaderboard_page(boards: "Sequence[Board]") -> str:
    """Return leaderboards as one HTML file."""
    from eadbench.dashboards.page import leaderboard

    return leaderboard.page(boards)
