"""What computed the rows, and what wrote the page."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from platform import python_version

import pandas as pd

from eadbench.dashboards.page.evidence import Evidence
from eadbench.dashboards.page.lead import seconds_text, span_text
from eadbench.dashboards.page.markup import Section, facts, paragraph, table
from eadbench.harness.results.folder import Results
from eadbench.harness.results.records import ShardRecord
from eadbench.harness.tracking.invocation import git_revision
from eadbench.harness.tracking_uri import redact

__all__ = ["section"]

_MOST = 50
_PLACE = ("node", "device", "torch", "precision", "threads", "batch")
"""What is told apart of where shards ran."""
_DONE = ("workers", "shards", "examples", "gradient evaluations")
_NUMBERS = ("threads", "batch", *_DONE, "time")


def section(results: Results, evidence: Evidence) -> Section:
    """Versions, and what each node did."""
    written = {
        "results": redact(str(results.root)),
        "run at git revision": ", ".join(evidence.revisions) or "not known",
        "page written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "by eadbench": f"{version('eadbench')}, git revision {git_revision() or 'not known'}",
        "Python": python_version(),
        **{name: version(name) for name in ("torch", "ray")},
    }
    body = facts(written)
    if evidence.records:
        body += "<h3>Where shards ran</h3>" + _places(evidence.records)
    if evidence.crafted:
        body += paragraph(f"Beside these, {_total(evidence.crafted)} crafted what adversarial training learnt from.")
    return Section(anchor="environment", title="Environment", body=body)


def _places(records: Sequence[ShardRecord]) -> str:
    """Every node and device with what it did, as the shards' records say."""
    frame = pd.DataFrame(map(asdict, records)).rename(columns={"batch_size": "batch"})
    done = frame.groupby([*_PLACE], sort=False, dropna=False).agg(
        workers=("worker", "nunique"),
        shards=("shard", "size"),
        examples=("examples", "sum"),
        gradients=("gradient_evaluations", "sum"),
        seconds=("seconds", "sum"),
    )
    done = done.sort_values("gradients", ascending=False).reset_index()
    counts = done[["workers", "shards", "examples", "gradients"]].map("{:,}".format)
    texts = done[[*_PLACE]].join(counts).assign(time=done["seconds"].map(seconds_text)).astype(str)
    shown = table([*_PLACE, *_DONE, "time"], texts.head(_MOST).to_numpy().tolist(), "Nodes", numbers=_NUMBERS)
    more = f" The {_MOST} of {len(done):,} places that did the most are shown." if len(done) > _MOST else ""
    total = f"All shards of this folder together, of whatever spec: {_total(records)}, {span_text(records)}.{more}"
    return shown + paragraph(total, "note")


def _total(records: Sequence[ShardRecord]) -> str:
    gradients = sum(record.gradient_evaluations for record in records)
    seconds = sum(record.seconds for record in records)
    return f"{len(records):,} shards, {gradients:,} gradient evaluations, {seconds:,.1f} seconds of workers"
