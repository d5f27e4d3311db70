"""The summary of a sweep: the lines of its tables, with its spec and victims."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from eadbench.harness.analysis import aggregate, cautions, evidence
from eadbench.harness.analysis.completeness import missing_text
from eadbench.harness.analysis.detection import Detections, detections_of
from eadbench.harness.analysis.evidence import Counts, evidence_of
from eadbench.harness.analysis.indicators import findings
from eadbench.harness.analysis.planned import planned
from eadbench.harness.analysis.robust import Robustness, of_sweep
from eadbench.harness.analysis.trust import Findings, raised_names
from eadbench.harness.labels import Labels
from eadbench.harness.parquet.notes import mixture
from eadbench.harness.parquet.stored import SETTING
from eadbench.harness.plan.grid import Victim
from eadbench.harness.results.learnt import Learnt, learnt_by_attacks
from eadbench.harness.results.snapshot import Snapshot
from eadbench.harness.spec import Spec

__all__ = ["AT_ONCE", "Pool", "Summary", "pool", "read"]

AT_ONCE = 2**21
"""Rows in memory at once (about 600 MB); more only if a single line of a table has more."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The figures of a sweep, with what is needed to label them."""

    spec: Spec
    victims: Sequence[Victim]
    lines: pd.DataFrame
    """The result of :func:`aggregate.summarise_lines`."""
    counts: pd.DataFrame | None = None
    """What :meth:`cautions.Tally.counts` returns for the same rows."""
    findings: Findings = field(default_factory=dict)
    """What the indicators find on each cell that has rows."""
    robust: Sequence[Robustness] = ()
    """Robust accuracy at each ε of the attacks at a fixed ε."""
    missing: str | None = None
    """How many rows are missing, in a sentence; None if the sweep is complete."""
    mixture: str | None = None
    """What differed when the rows were computed, in a sentence; None if nothing did."""
    detections: Detections | None = None
    """What the victims' detectors say; None without detectors."""
    learnt: Sequence[Learnt] = ()
    """What attacks have learnt of the victims."""

    @cached_property
    def labels(self) -> Labels:
        """The labels of the sweep's victims and attacks."""
        return Labels(lines=self.lines, victims=self.victims)

    @property
    def own(self) -> pd.DataFrame:
        """The lines without transfer: examples tested on the victim that they attacked."""
        return self.lines[self.lines["model"] == self.lines["evaluated_on"]]

    @property
    def quantised(self) -> bool:
        """Whether the spec asks for success after rounding to 8 bits."""
        return any(attack.parameters.get("quantised") for attack in self.spec.attacks)

    @property
    def after_rounding(self) -> pd.DataFrame:
        """The lines without transfer, with the figures after rounding to 8 bits, under a title that says so."""
        return aggregate.after_rounding(self.own).assign(table="after rounding to 8 bits")


def read(snapshot: Snapshot) -> Summary:
    """Summarise the rows of a folder that belong to its spec."""
    spec, rows = snapshot.spec, snapshot.stored_rows
    columns = dict.fromkeys((*aggregate.COUNTED, *cautions.COLUMNS, *evidence.COLUMNS))
    tally, counts, numbers = cautions.Tally(), Counts(rows.lines), Counter[int]()

    def counted() -> Iterator[pd.DataFrame]:
        for batch in rows.batches([*columns], at_most=AT_ONCE):
            numbers.update(batch["line"].tolist())
            yield batch

    batches = counts.watched(tally.watched(counted()))
    digests = [*(victim.digest for victim in snapshot.victims), *snapshot.cells]
    order = {digest: place for place, digest in enumerate(digests)}
    lines = aggregate.summarise_lines(rows.lines, batches, seed=spec.seed, planned=planned(snapshot), order=order)
    own = lines["model"] == lines["evaluated_on"]
    known = evidence_of(rows.lines, counts, lines[own], snapshot.victims)
    found = {cell: findings(each) for cell, each in known.items()}
    raised = lines["cell"].map(lambda cell: ";".join(raised_names(found, cell))).where(own, "")
    keys = zip(rows.lines.index, rows.lines["cell"], rows.lines["evaluated_on"], strict=True)
    return Summary(
        spec=spec,
        victims=snapshot.victims,
        lines=lines.assign(table=spec.name, indicators=raised),
        counts=tally.counts(rows.lines),
        findings=found,
        robust=of_sweep(snapshot),
        missing=missing_text(snapshot, {(cell, tested): numbers[line] for line, cell, tested in keys}),
        mixture=mixture(rows.notes),
        detections=detections_of(snapshot),
        learnt=learnt_by_attacks(snapshot.folder.root),
    )


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The rows and victims of several sweeps, for checking claims."""

    rows: pd.DataFrame
    """Rows with the column `folder`."""
    victims: Sequence[Victim]
    tested: Mapping[str, int]
    """The number of images behind each victim's accuracy, by the victim's digest."""
    missing: Mapping[str, str]
    """How many rows are missing, in a sentence, by folder; complete folders are left out."""
    mixture: str | None
    """What differed when the rows were computed, in a sentence; None if nothing did."""


def pool(snapshots: Sequence[Snapshot]) -> Pool:
    """Return the rows of several sweeps that belong to their specs, with their victims."""
    columns = [*SETTING, "precision", "image", "target", "success", *aggregate.METRICS]
    frames = [snapshot.frame(columns).assign(folder=str(snapshot.folder.root)) for snapshot in snapshots]
    tested = {
        victim.digest: evaluation.size
        for snapshot in snapshots
        for victim in snapshot.victims
        if (evaluation := snapshot.folder.evaluation(victim.digest, snapshot.dataset, snapshot.spec.images.split))
    }
    missing: dict[str, str] = {}
    for snapshot, frame in zip(snapshots, frames, strict=True):
        counts = Counter(zip(frame["cell"], frame["evaluated_on"], strict=True))
        if (text := missing_text(snapshot, counts)) is not None:
            missing[str(snapshot.folder.root)] = text
    return Pool(
        rows=pd.concat(frames, ignore_index=True),
        victims=[victim for snapshot in snapshots for victim in snapshot.victims],
        tested=tested,
        missing=missing,
        mixture=mixture([note for snapshot in snapshots for note in snapshot.stored_rows.notes]),
    )
