"""How far a sweep is: what its shards' records and its parts say, read once each, as they come."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock

import pandas as pd

from harness.grid import Victim, blocks, examples_per_cell, size
from harness.parquet.query import FILES, Files
from harness.parquet.rows import SCHEMA, WHAT
from harness.results import Results
from harness.shard_records import ShardRecord
from harness.spec import Spec
from models import Recipe

__all__ = ["Progress", "Watched", "ago", "by_worker", "cumulative", "models_made", "rate"]

_COUNTED = (
    f"SELECT cell, count(*) AS rows FROM {FILES} WHERE model = evaluated_on AND cell IN (SELECT unnest($cells)) "
    "AND (model, image) IN (SELECT unnest($models), unnest($images)) GROUP BY cell"
)
_RECENT = timedelta(minutes=10)
_COLUMNS = ["shard", "worker", "node", "device", "examples", "seconds", "gradient_evaluations", "started", "ended"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a sweep is. An example by two decision rules is two rows, of two cells."""

    cells_done: int
    cells: int
    rows_done: int
    rows: int
    shards: int
    """Shards of the spec; those that an earlier spec had done are among the records too."""
    parts_on_others: int
    """Shards' examples that were tested on another victim."""
    records: pd.DataFrame
    """Of shards that are done, in the order in which they ended."""

    @property
    def complete(self) -> bool:
        """Whether every cell has all its rows."""
        return self.cells_done == self.cells


class Watched:
    """A folder that is looked at again and again; each part and each record is read once."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._lock = Lock()
        self._for: tuple[str, ...] = ()
        self._counted: set[str] = set()
        self._rows: Counter[str] = Counter()
        self._records: dict[str, ShardRecord] = {}

    def progress(self) -> Progress | None:
        """How far the sweep is now; None before its victims are ready.

        Raises
        ------
        UserError
            The folder is not one of results, or a file in it is damaged.
        """
        spec = self._results.spec()
        dataset, victims = self._results.victims()
        if not victims:
            return None
        cells = {cell.digest: cell.victim for block in blocks(spec, dataset, victims) for cell in block.cells()}
        classes = self._results.recipe(victims[0].digest).num_classes
        per_cell = examples_per_cell(spec, classes)
        planned = size(spec, classes, sum(victim.attacked for victim in victims))
        with self._lock:
            parts = sorted(path.stem for path in self._results.examples.glob("[!.]*.parquet"))
            own = [part for part in parts if "-" not in part]
            self._count(own, cells, victims)
            self._read(own)
            rows = {cell: min(self._rows[cell], per_cell) for cell in cells}
            return Progress(
                cells_done=sum(count == per_cell for count in rows.values()),
                cells=len(cells),
                rows_done=sum(rows.values()),
                rows=len(cells) * per_cell,
                shards=planned.shards,
                parts_on_others=len(parts) - len(own),
                records=_frame(self._records, spec),
            )

    def _count(self, parts: Sequence[str], cells: Mapping[str, str], victims: Sequence[Victim]) -> None:
        """Add the rows of parts that were not there before; all over again for another spec."""
        wanted = (*cells, *(f"{victim.digest} {image}" for victim in victims for image in victim.images))
        if wanted != self._for:
            self._for, self._counted, self._rows = wanted, set(), Counter()
        new = [part for part in parts if part not in self._counted]
        if not new:
            return
        drawn = [(victim.digest, image) for victim in victims for image in victim.images]
        models, images = [model for model, _ in drawn], [image for _, image in drawn]
        files = Files([self._results.part(part) for part in new], SCHEMA, WHAT)
        found = files.ask(_COUNTED, {"cells": list(cells), "models": models, "images": images}).to_pydict()
        self._rows.update(dict(zip(found["cell"], found["rows"], strict=True)))
        self._counted.update(new)

    def _read(self, parts: Sequence[str]) -> None:
        for part in parts:
            if part not in self._records and (self._results.shards / f"{part}.json").is_file():
                self._records[part] = self._results.shard_record(part)


def models_made(results: Results) -> dict[str, Recipe]:
    """The models that are ready, by their digests.

    Raises
    ------
    UserError
        One is damaged.
    """
    folders = sorted(path.parent.name for path in (results.root / "models").glob("*/recipe.json"))
    return {digest: results.recipe(digest) for digest in folders}


def _frame(records: Mapping[str, ShardRecord], spec: Spec) -> pd.DataFrame:
    """The records of the split that is attacked, in the order in which the shards ended."""
    kept = [asdict(record) for record in records.values() if record.split == spec.images.split]
    if not kept:
        return pd.DataFrame(columns=_COLUMNS)
    frame = pd.DataFrame(kept)
    started = pd.to_datetime(frame["started"], utc=True)
    frame = frame.assign(started=started, ended=started + pd.to_timedelta(frame["seconds"], unit="s"))
    return frame[_COLUMNS].sort_values("ended", ignore_index=True)


def by_worker(records: pd.DataFrame) -> pd.DataFrame:
    """What each worker has done: a line each, the one that ended a shard last at the top.

    `gradients_per_second` is of the time that it spent on shards.
    """
    groups = records.groupby(["worker", "node", "device"], dropna=False)
    found = groups.agg(
        shards=("shard", "size"),
        examples=("examples", "sum"),
        seconds=("seconds", "sum"),
        gradients=("gradient_evaluations", "sum"),
        last=("ended", "max"),
    ).reset_index()
    found["gradients_per_second"] = found["gradients"] / found["seconds"].where(found["seconds"] > 0)
    return found.sort_values("last", ascending=False, ignore_index=True)


def rate(records: pd.DataFrame) -> float:
    """Examples a second of wall time, over the last ten minutes in which shards ended; 0 where nothing did."""
    if records.empty:
        return 0.0
    end = records["ended"].max()
    recent = records[records["ended"] > end - _RECENT]
    spent = (end - max(recent["started"].min(), end - _RECENT)).total_seconds()
    return float(recent["examples"].sum() / spent) if spent > 0 else 0.0


def cumulative(records: pd.DataFrame, *, most: int = 500) -> pd.DataFrame:
    """How many examples were done (`examples`) at which time (`ended`), at as many moments at most."""
    total = records["examples"].cumsum()
    step = max(1, -(-len(records) // most))
    points = pd.DataFrame({"ended": records["ended"], "examples": total})
    return points.iloc[::-1].iloc[::step].iloc[::-1].reset_index(drop=True)


def ago(moment: datetime) -> str:
    """How long ago something was: ``12 s ago``, ``3 min ago``."""
    seconds = int((datetime.now(UTC) - moment).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit} ago"
    return f"{max(0, seconds)} s ago"
