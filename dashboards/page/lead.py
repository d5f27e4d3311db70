"""How the page begins: what was swept, how far, and what it took."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from eadbench.dashboards.page.evidence import Evidence, State
from eadbench.dashboards.page.markup import facts, paragraph, plain
from eadbench.harness.reporting.report import Found
from eadbench.harness.results.records import ShardRecord

__all__ = ["html", "seconds_text", "span_text"]


def html(found: Found, evidence: Evidence) -> str:
    """The heading, the state of the sweep, and its size."""
    heading = f"<h1>{plain(found.spec.name)}</h1>"
    return f"<header>{heading}{_state(found, evidence)}{facts(_facts(found, evidence))}</header>"


def _state(found: Found, evidence: Evidence) -> str:
    """Whether the rows are all there, and whether something failed."""
    failed = len(evidence.failures)
    wrong = f" {failed:,} task{'' if failed == 1 else 's'} failed; their errors are below." if failed else ""
    return paragraph(_rows_text(found, evidence.state) + wrong, "state" if _whole(evidence) else "state open")


def _rows_text(found: Found, state: State | None) -> str:
    if not found.victims:
        return "Its victims were not ready when this page was written."
    if state is None:
        return "How many rows there are to be is not known here: the victims are not stored with the results."
    if state.cells_done == state.cells:
        return f"Complete: all {state.rows:,} rows of {state.cells:,} cells are there."
    share = f"{state.rows_done:,} of {state.rows:,} rows"
    return f"Unfinished: {state.cells_done:,} of {state.cells:,} cells have all their rows, which are {share}."


def _whole(evidence: Evidence) -> bool:
    state = evidence.state
    return state is not None and state.cells_done == state.cells and not evidence.failures


def _facts(found: Found, evidence: Evidence) -> dict[str, str]:
    attacked = sum(victim.attacked for victim in found.victims)
    other = len(found.victims) - attacked
    datasets = ", ".join(dict.fromkeys(found.summary["dataset"])) or str(found.spec.dataset["name"])
    said = {
        "data set": datasets,
        "victims": f"{attacked:,}" + (f", and {other:,} tested on" if other else ""),
        "images of each": f"{found.spec.images.count:,}",
    }
    if evidence.records:
        said |= {
            "examples attacked": f"{sum(record.examples for record in evidence.records):,}",
            "gradient evaluations": f"{sum(record.gradient_evaluations for record in evidence.records):,}",
            "workers' time": seconds_text(sum(record.seconds for record in evidence.records)),
            "attacks ran": span_text(evidence.records),
        }
    return said


def seconds_text(seconds: float) -> str:
    """A time that workers took: ``52.1 s``, ``12.5 min``, ``130.2 h``."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.1f} s"


def span_text(records: Iterable[ShardRecord]) -> str:
    """From when to when shards ran: ``2026-11-25 14:03 to 14:05 UTC``."""
    begun = [(datetime.fromisoformat(record.started).astimezone(UTC), record.seconds) for record in records]
    first = min(moment for moment, _ in begun)
    last = max(moment + timedelta(seconds=seconds) for moment, seconds in begun)
    end = f"{last:%H:%M}" if first.date() == last.date() else f"{last:%Y-%m-%d %H:%M}"
    return f"{first:%Y-%m-%d %H:%M} to {end} UTC"
