"""The machines and versions that computed the rows, and the versions that wrote the page."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from platform import python_version

import pandas as pd

from eadbench.dashboards.page.header import seconds_text, span_text
from eadbench.dashboards.page.provenance import attacked_shards, git_revisions, training_shards
from eadbench.dashboards.page.section import Section
from eadbench.dashboards.rendering import render
from eadbench.harness.messages import redact
from eadbench.harness.results.lock import LOCK, read_lock
from eadbench.harness.results.records import ShardRecord
from eadbench.harness.results.snapshot import Snapshot
from eadbench.harness.tracking.invocation import git_revision

__all__ = ["section"]

_LIMIT = 50
"""Places that are shown."""
_PLACE = ("node", "device", "torch", "precision", "threads", "batch")
_WORK = ("workers", "shards", "examples", "gradient evaluations", "time")
_NUMBERS = ("threads", "batch", *_WORK)


def section(snapshot: Snapshot) -> Section:
    """Return versions, and the work of each node."""
    records, training = attacked_shards(snapshot), training_shards(snapshot)
    places = _places(records) if records else []
    body = render(
        "environment.html.j2",
        facts=_facts(snapshot),
        heads=[*_PLACE, *_WORK],
        numbers=_NUMBERS,
        places=places[:_LIMIT],
        total_places=len(places),
        total=f"{_total(records)}, {span_text(records)}" if records else "",
        training=_total(training) if training else "",
    )
    return Section(anchor="environment", title="Environment", body=body)


def _facts(snapshot: Snapshot) -> dict[str, str]:
    return {
        "results": redact(str(snapshot.folder.root)),
        **_root(snapshot),
        "run at git revision": ", ".join(git_revisions(snapshot)) or "not known",
        "page written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "by eadbench": f"{version('eadbench')}, git revision {git_revision() or 'not known'}",
        "Python": python_version(),
        **{name: version(name) for name in ("torch", "ray")},
    }


def _root(snapshot: Snapshot) -> dict[str, str]:
    """Return the Merkle root of the rows, if the sweep has ended."""
    path = snapshot.folder.root / LOCK
    if not path.is_file():
        return {}
    lock = read_lock(path)
    return {"results.lock": f"{lock.rows:,} rows, root {lock.root}"}


def _places(records: Sequence[ShardRecord]) -> list[list[str]]:
    """Return a line for each node and device, those that did the most first."""
    frame = pd.DataFrame(map(asdict, records)).rename(columns={"batch_size": "batch"})
    work = frame.groupby([*_PLACE], sort=False, dropna=False).agg(
        workers=("worker", "nunique"),
        shards=("shard", "size"),
        examples=("examples", "sum"),
        gradients=("gradient_evaluations", "sum"),
        seconds=("seconds", "sum"),
    )
    work = work.sort_values("gradients", ascending=False).reset_index()
    counts = work[["workers", "shards", "examples", "gradients"]].map("{:,}".format)
    texts = work[[*_PLACE]].join(counts).assign(time=work["seconds"].map(seconds_text)).astype(str)
    lines: list[list[str]] = texts.to_numpy().tolist()
    return lines


def _total(records: Sequence[ShardRecord]) -> str:
    gradients = sum(record.gradient_evaluations for record in records)
    seconds = sum(record.seconds for record in records)
    return f"{len(records):,} shards, {gradients:,} gradient evaluations, {seconds:,.1f} seconds of workers"
