"""The tasks that a sweep gave up, with their errors."""

from dataclasses import dataclass

from eadbench.dashboards.page.section import Section
from eadbench.dashboards.rendering import render
from eadbench.harness.messages import redact
from eadbench.harness.results.records import Failed
from eadbench.harness.results.snapshot import Snapshot

__all__ = ["section"]

_LIMIT = 20
"""Failures that are shown."""
_ERROR_LIMIT = 5_000
"""Characters of an error that are shown, from its end."""
_REASON_LIMIT = 300


@dataclass(frozen=True, kw_only=True)
class _Failure:
    """A failure as the page shows it, without credentials."""

    task: str
    reason: str
    ended: str
    workers: str
    error: str


def section(snapshot: Snapshot) -> Section | None:
    """Return the last failures; None if nothing failed."""
    failures = snapshot.failures
    if not failures:
        return None
    body = render(
        "failures.html.j2",
        failures=[_failure(failed) for failed in failures[:_LIMIT]],
        total=len(failures),
        folder=redact(str(snapshot.folder.failures)),
    )
    return Section(anchor="failures", title="Failures", body=body)


def _failure(failed: Failed) -> _Failure:
    error = redact(failed.error.strip())
    return _Failure(
        task=failed.task,
        reason=redact(failed.reason)[:_REASON_LIMIT],
        ended=failed.ended,
        workers=", ".join(failed.workers),
        error=error if len(error) <= _ERROR_LIMIT else f"…{error[-_ERROR_LIMIT:]}",
    )
