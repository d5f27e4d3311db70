"""What a page says of a sweep beside its summary, read once."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from eadbench.harness.parquet.stored import StoredRows
from eadbench.harness.plan.grid import blocks, examples_per_cell
from eadbench.harness.results.folder import Results
from eadbench.harness.results.records import Failed, ShardRecord
from eadbench.harness.results.status import models_made
from eadbench.models import Recipe

_COMMIT = "mlflow.source.git.commit"
_AT_ONCE = 16
"""Records that are read at the same time, which helps where they are an object store's."""


class State(NamedTuple):
    """How far a sweep is. An example by two decision rules is two rows, of two cells."""

    cells_done: int
    cells: int
    rows_done: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What stands in a results folder."""

    stored: StoredRows
    recipes: Mapping[str, Recipe]
    """Of the models that are stored, by their digests."""
    records: Sequence[ShardRecord]
    """Of the split that is attacked, in the order in which shards began."""
    crafted: Sequence[ShardRecord]
    """Of the other split: what adversarial training learnt from."""
    failures: Sequence[Failed]
    """The last first."""
    revisions: Sequence[str]
    """Of git, of the checkouts that ran the sweep; none where that is not known."""
    state: State | None
    """None while it is not known how many rows there are to be: before a victim is stored with its recipe."""


def gather(results: Results) -> Evidence:
    """Read the records of shards and failures, the recipes, and which rows there are.

    Raises
    ------
    UserError
        A file is damaged.
    """
    shards = sorted(path.stem for path in results.shards.glob("[!.]*.json"))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        records = sorted(pool.map(results.shard_record, shards), key=lambda record: record.started)
    kept = results.invocation_records().values()
    split, stored, recipes = results.spec().images.split, results.stored(), models_made(results)
    return Evidence(
        stored=stored,
        recipes=recipes,
        records=[record for record in records if record.split == split],
        crafted=[record for record in records if record.split != split],
        failures=results.failure_records(),
        revisions=list(dict.fromkeys(record.tags[_COMMIT] for record in kept if _COMMIT in record.tags)),
        state=_state(results, stored, recipes),
    )


def _state(results: Results, stored: StoredRows, recipes: Mapping[str, Recipe]) -> State | None:
    spec, (dataset, victims) = results.spec(), results.victims()
    known = [recipes[victim.digest] for victim in victims if victim.digest in recipes]
    if not known:
        return None
    per_cell = examples_per_cell(spec, known[0].num_classes)
    cells = sum(len(block.cells()) for block in blocks(spec, dataset, victims))
    lines = stored.lines
    rows = lines.loc[lines["model"] == lines["evaluated_on"], "rows"].clip(upper=per_cell)
    return State(
        cells_done=int((rows == per_cell).sum()),
        cells=cells,
        rows_done=int(rows.sum()),
        rows=cells * per_cell,
    )
