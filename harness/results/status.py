"""The progress of a sweep, from its parts and shard records. Each file is read once, when it appears."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from threading import Lock

import pandas as pd

from eadbench.harness.messages import ago
from eadbench.harness.parquet.query import FILES
from eadbench.harness.parquet.rows import files_of
from eadbench.harness.plan.cells import Victim
from eadbench.harness.plan.grid import blocks, examples_per_cell, size
from eadbench.harness.results.folder import Results
from eadbench.harness.results.records import ShardRecord
from eadbench.harness.spec import Spec
from eadbench.models import Recipe

__all__ = ["Progress", "Watched", "ago", "by_worker", "cumulative", "models_made", "rate"]

_ROW_COUNTS = (
    f"SELECT cell, evaluated_on, count(*) AS rows FROM {FILES} WHERE cell IN (SELECT unnest($cells)) "
    "AND (model, image) IN (SELECT unnest($models), unnest($images)) GROUP BY ALL"
)
_RECENT = timedelta(minutes=10)
_COLUMNS = ["shard", "worker", "node", "device", "examples", "seconds", "gradient_evaluations", "started", "ended"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of a sweep. An example under two decision rules is two rows, of two cells."""

    cells_done: int
    cells: int
    rows_done: int
    rows: int
    shards: int
    """Number of shards of the spec. `records` may hold shards of an earlier spec too."""
    transfer_rows_done: int
    """Rows of examples tested on another victim."""
    transfer_rows: int
    records: pd.DataFrame
    """Records of the finished shards, in the order of their ends."""

    @property
    def complete(self) -> bool:
        """Whether every cell has all its rows, on every victim that it is tested on."""
        return self.cells_done == self.cells and self.transfer_rows_done == self.transfer_rows


class Watched:
    """Follow the progress in a results folder; each part and each record is read once."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._lock = Lock()
        self._counted_for: tuple[str, ...] = ()
        self._counted_parts: set[str] = set()
        self._rows: Counter[tuple[str, str]] = Counter()
        """Rows by cell and victim tested on."""
        self._records: dict[str, ShardRecord] = {}

    def progress(self) -> Progress | None:
        """Return the progress of the sweep so far; None before its victims are ready.

        Raises
        ------
        UserError
            The folder has no results, or a file in it is damaged.
        """
        spec = self._results.spec()
        dataset, victims = self._results.victims()
        if not victims:
            return None
        classes, tests = len(self._results.target_classes()), self._results.tests()
        counts = examples_per_cell(spec, classes, victims)
        blocks_of_cells = [(block, cell) for block in blocks(spec, dataset, victims) for cell in block.cells()]
        cells = {cell.digest: cell.victim for _, cell in blocks_of_cells}
        per_line = {cell.digest: counts[block.population] for block, cell in blocks_of_cells}
        with self._lock:
            parts = sorted(path.stem for path in self._results.examples.glob("[!.]*.parquet"))
            shards = [part for part in parts if "-" not in part]
            self._count_rows(parts, cells, victims)
            self._read_records(shards)
            lines = [(cell, tested) for cell, model in cells.items() for tested in tests[model]]
            rows = {(cell, on): min(self._rows[cell, on], per_line[cell]) for cell, on in lines}
            own = [rows[cell, model] for cell, model in cells.items()]
            planned = list(per_line.values())
            return Progress(
                cells_done=sum(count == whole for count, whole in zip(own, planned, strict=True)),
                cells=len(cells),
                rows_done=sum(own),
                rows=sum(planned),
                shards=size(spec, classes, victims).shards,
                transfer_rows_done=sum(rows.values()) - sum(own),
                transfer_rows=sum(per_line[cell] for cell, _ in lines) - sum(planned),
                records=_frame(self._records, spec),
            )

    def _count_rows(self, parts: Sequence[str], cells: Mapping[str, str], victims: Sequence[Victim]) -> None:
        """Add the rows of new parts. If the spec has changed, count every part again."""
        drawn = [(victim.digest, image) for victim in victims for image in victim.images]
        counted_for = (*cells, *(f"{model} {image}" for model, image in drawn))
        if counted_for != self._counted_for:
            self._counted_for, self._counted_parts, self._rows = counted_for, set(), Counter()
        new = [part for part in parts if part not in self._counted_parts]
        if not new:
            return
        models, images = [model for model, _ in drawn], [image for _, image in drawn]
        files = files_of([self._results.part(part) for part in new])
        counts = files.ask(_ROW_COUNTS, {"cells": list(cells), "models": models, "images": images}).to_pydict()
        lines = zip(counts["cell"], counts["evaluated_on"], strict=True)
        self._rows.update(dict(zip(lines, counts["rows"], strict=True)))
        self._counted_parts.update(new)

    def _read_records(self, shards: Sequence[str]) -> None:
        """Read the records of shards that have one now."""
        for shard in shards:
            if shard not in self._records and (self._results.shards / f"{shard}.json").is_file():
                self._records[shard] = self._results.shard_record(shard)


def models_made(results: Results) -> dict[str, Recipe]:
    """Return the recipes of the stored models, by their digests.

    Raises
    ------
    UserError
        A recipe is damaged.
    """
    folders = sorted(path.parent.name for path in (results.root / "models").glob("*/recipe.json"))
    return {digest: results.recipe(digest) for digest in folders}


def _frame(records: Mapping[str, ShardRecord], spec: Spec) -> pd.DataFrame:
    """Return the records of the attacked split as a frame, in the order of the shards' ends."""
    lines = [asdict(record) for record in records.values() if record.split == spec.images.split]
    if not lines:
        return pd.DataFrame(columns=_COLUMNS)
    frame = pd.DataFrame(lines)
    started = pd.to_datetime(frame["started"], utc=True)
    frame = frame.assign(started=started, ended=started + pd.to_timedelta(frame["seconds"], unit="s"))
    return frame[_COLUMNS].sort_values("ended", ignore_index=True)


def by_worker(records: pd.DataFrame) -> pd.DataFrame:
    """Return one line per worker with its totals, the worker of the latest shard first.

    `gradients_per_second` is relative to the worker's time on shards.
    """
    groups = records.groupby(["worker", "node", "device"], dropna=False)
    workers = groups.agg(
        shards=("shard", "size"),
        examples=("examples", "sum"),
        seconds=("seconds", "sum"),
        gradients=("gradient_evaluations", "sum"),
        last=("ended", "max"),
    ).reset_index()
    workers["gradients_per_second"] = workers["gradients"] / workers["seconds"].where(workers["seconds"] > 0)
    return workers.sort_values("last", ascending=False, ignore_index=True)


def rate(records: pd.DataFrame) -> float:
    """Return the examples per second of wall time in the ten minutes before the last shard ended; 0 without shards."""
    if records.empty:
        return 0.0
    end = records["ended"].max()
    recent = records[records["ended"] > end - _RECENT]
    seconds = (end - max(recent["started"].min(), end - _RECENT)).total_seconds()
    return float(recent["examples"].sum() / seconds) if seconds > 0 else 0.0


def cumulative(records: pd.DataFrame, *, limit: int = 500) -> pd.DataFrame:
    """Return the number of finished examples (`examples`) over time (`ended`), at `limit` times or fewer."""
    total = records["examples"].cumsum()
    step = max(1, -(-len(records) // limit))
    points = pd.DataFrame({"ended": records["ended"], "examples": total})
    return points.iloc[::-1].iloc[::step].iloc[::-1].reset_index(drop=True)
