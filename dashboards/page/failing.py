"""What of a sweep was given up, with its errors."""

from eadbench.dashboards.page.evidence import Evidence
from eadbench.dashboards.page.markup import Section, paragraph, plain, preformatted
from eadbench.harness.results.folder import Results
from eadbench.harness.results.records import Failed
from eadbench.harness.tracking_uri import redact

__all__ = ["section"]

_MOST = 20
_LONGEST = 5_000
"""Characters of an error, from its end."""
_LONGEST_REASON = 300


def section(results: Results, evidence: Evidence) -> Section | None:
    """The last failures; None where there are none."""
    found = evidence.failures
    if not found:
        return None
    more = f" The last {_MOST} of {len(found):,} are shown." if len(found) > _MOST else ""
    place = redact(str(results.failures))
    said = f"What failed is tried again when the sweep is run again. {place} has the examples of each.{more}"
    body = paragraph(said) + "".join(map(_failure, found[:_MOST]))
    return Section(anchor="failures", title="Failures", body=body)


def _failure(failed: Failed) -> str:
    error, reason = redact(failed.error.strip()), redact(failed.reason)[:_LONGEST_REASON]
    cut = error if len(error) <= _LONGEST else f"…{error[-_LONGEST:]}"
    where = paragraph(f"{failed.ended}, on {', '.join(failed.workers)}", "note")
    shown = preformatted(cut, f"Error of {failed.task}")
    return f"<details><summary>{plain(f'{failed.task}: {reason}')}</summary>{where}{shown}</details>"
