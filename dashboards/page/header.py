"""The beginning of the page: which sweep it is, whether it is complete, and what it took."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pandas as pd
from markupsafe import Markup

from eadbench.dashboards.page.provenance import attacked_shards
from eadbench.dashboards.rendering import render
from eadbench.harness.analysis.summary import Summary
from eadbench.harness.labels import dataset_label
from eadbench.harness.results.records import ShardRecord
from eadbench.harness.results.snapshot import Snapshot

__all__ = ["html", "seconds_text", "span_text"]


class _Completion(NamedTuple):
    """How much of a sweep is done. An example kept by two decision rules is two rows, of two cells."""

    cells_done: int
    cells: int
    rows_done: int
    rows: int
    transfer_rows_done: int
    """Rows of examples tested on another victim."""
    transfer_rows: int

    @property
    def complete(self) -> bool:
        return self.cells_done == self.cells and self.transfer_rows_done == self.transfer_rows


def html(snapshot: Snapshot, summary: Summary) -> Markup:
    """Return the heading, the state of the sweep, and its size."""
    completion = _completion(snapshot)
    return render(
        "header.html.j2",
        name=summary.spec.name,
        rows_text=_rows_text(completion, summary.missing),
        finished=completion is not None and completion.complete and not (snapshot.failures or summary.missing),
        failures=len(snapshot.failures),
        facts=_facts(snapshot, summary),
    )


def _completion(snapshot: Snapshot) -> _Completion | None:
    """Return how much is done; None before the victims are ready."""
    if not snapshot.rows_per_line:
        return None
    lines, tests = snapshot.stored_rows.lines, snapshot.folder.tests()
    per_line = lines["cell"].map(snapshot.rows_per_line).astype("int64")
    rows = lines["rows"].clip(upper=per_line)
    own = lines["model"] == lines["evaluated_on"]
    pairs = zip(lines["model"], lines["evaluated_on"], strict=True)
    tested = pd.Series([tested in tests[model] for model, tested in pairs], index=lines.index, dtype=bool)
    planned = [(len(tests[cell.victim]) - 1, snapshot.rows_per_line[digest]) for digest, cell in snapshot.cells.items()]
    return _Completion(
        cells_done=int((rows == per_line)[own].sum()),
        cells=len(planned),
        rows_done=int(rows[own].sum()),
        rows=sum(count for _, count in planned),
        transfer_rows_done=int(rows[~own & tested].sum()),
        transfer_rows=sum(others * count for others, count in planned),
    )


def _rows_text(completion: _Completion | None, missing: str | None) -> str:
    if completion is None:
        return "Its victims were not ready when this page was written."
    if completion.complete and missing:
        return f"Unfinished: {missing}."
    done, total = completion.transfer_rows_done, completion.transfer_rows
    if completion.complete:
        transfers = f", and all {total:,} rows on other victims" if total else ""
        return f"Complete: all {completion.rows:,} rows of {completion.cells:,} cells are there{transfers}."
    transfers = f", and {done:,} of {total:,} rows on other victims" if total else ""
    share = f"{completion.rows_done:,} of {completion.rows:,} rows"
    cells = f"{completion.cells_done:,} of {completion.cells:,} cells are complete"
    return f"Unfinished: {share} are there{transfers}; {cells}."


def _images_text(summary: Summary) -> str:
    """Return how many images of each victim are attacked: ``10``, or ``9 to 10``."""
    count = summary.spec.images.limit
    counts = {len(victim.images) for victim in summary.victims if victim.attacked} if count is None else {count}
    return " to ".join(f"{each:,}" for each in dict.fromkeys((min(counts, default=0), max(counts, default=0))))


def _facts(snapshot: Snapshot, summary: Summary) -> dict[str, str]:
    attacked = sum(victim.attacked for victim in summary.victims)
    others = len(summary.victims) - attacked
    datasets = ", ".join(map(dataset_label, dict.fromkeys(summary.lines["dataset"]))) or summary.spec.dataset.name
    facts = {
        "data set": datasets,
        "victims": f"{attacked:,}" + (f", and {others:,} tested on" if others else ""),
        "images of each": _images_text(summary),
    }
    records = attacked_shards(snapshot)
    if records:
        facts |= {
            "examples attacked": f"{sum(record.examples for record in records):,}",
            "gradient evaluations": f"{sum(record.gradient_evaluations for record in records):,}",
            "workers' time": seconds_text(sum(record.seconds for record in records)),
            "attacks ran": span_text(records),
        }
    return facts


def seconds_text(seconds: float) -> str:
    """Return a duration: ``52.1 s``, ``12.5 min``, ``130.2 h``."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.1f} s"


def span_text(records: Iterable[ShardRecord]) -> str:
    """Return when shards ran: ``2026-11-25 14:03 to 14:05 UTC``."""
    runs = [(datetime.fromisoformat(record.started).astimezone(UTC), record.seconds) for record in records]
    first = min(start for start, _ in runs)
    last = max(start + timedelta(seconds=seconds) for start, seconds in runs)
    end = f"{last:%H:%M}" if first.date() == last.date() else f"{last:%Y-%m-%d %H:%M}"
    return f"{first:%Y-%m-%d %H:%M} to {end} UTC"
