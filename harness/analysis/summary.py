"""The summary of a sweep: the lines of its tables, with its spec and victims."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from eadbench.harness.analysis import aggregate
from eadbench.harness.labels import Labels
from eadbench.harness.parquet.stored import SETTING
from eadbench.harness.plan.grid import Victim
from eadbench.harness.results.snapshot import Snapshot
from eadbench.harness.spec import Spec

__all__ = ["AT_ONCE", "Summary", "pooled_rows", "read"]

AT_ONCE = 2**21
"""Rows in memory at once (about 600 MB); more only if a single line of a table has more."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The figures of a sweep, with what is needed to label them."""

    spec: Spec
    victims: Sequence[Victim]
    lines: pd.DataFrame
    """The result of :func:`aggregate.summarise_lines`."""

    @cached_property
    def labels(self) -> Labels:
        """The labels of the sweep's victims and attacks."""
        return Labels(lines=self.lines, victims=self.victims)

    @property
    def own(self) -> pd.DataFrame:
        """The lines without transfer: examples tested on the victim that they attacked."""
        return self.lines[self.lines["model"] == self.lines["evaluated_on"]]


def read(snapshot: Snapshot, *, resamples: int = 1000) -> Summary:
    """Summarise the rows of a folder that belong to its spec."""
    spec, rows = snapshot.spec, snapshot.stored_rows
    batches = rows.batches(aggregate.COUNTED, at_most=AT_ONCE)
    lines = aggregate.summarise_lines(rows.lines, batches, seed=spec.seed, resamples=resamples)
    return Summary(spec=spec, victims=snapshot.victims, lines=lines.assign(table=spec.name))


def pooled_rows(snapshots: Sequence[Snapshot]) -> tuple[pd.DataFrame, list[Victim], int]:
    """Return the rows of several sweeps, for checking claims, with their victims and the first sweep's seed."""
    columns = [*SETTING, "image", "target", "success", *aggregate.METRICS]
    rows = pd.concat([snapshot.frame(columns) for snapshot in snapshots], ignore_index=True)
    victims = [victim for snapshot in snapshots for victim in snapshot.victims]
    return rows, victims, snapshots[0].spec.seed
