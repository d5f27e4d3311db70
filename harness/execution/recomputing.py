"""Compute a random sample of a sweep's rows again, from its stored victims, and compare."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd

from eadbench.harness.errors import UserError
from eadbench.harness.execution.worker import Worker
from eadbench.harness.parquet.rows import SCHEMA, as_stored, read_rows
from eadbench.harness.parquet.stored import DISTANCES, contradictory
from eadbench.harness.plan import grid
from eadbench.harness.plan.grid import Example, Shard
from eadbench.harness.plan.tasks import Setup, Transfer
from eadbench.harness.registry import ATTACKS, DEFENSES, DETECTORS
from eadbench.harness.results.lock import row_contents
from eadbench.harness.results.model_files import read_model
from eadbench.harness.results.snapshot import Snapshot
from eadbench.models import Recipe
from eadbench.models.code import is_code

__all__ = ["Recomputed", "idle_worker", "recompute"]

Row = dict[str, Any]
Key = tuple[str, int, int | None, str]
"""Cell, image, target and victim tested on."""
Agreement = Literal["equal", "rounded", "other"]

AT_ONCE = 2**21
"""Rows of one column that are counted at once."""
_NONE = pd.Series(dtype="int64")


@dataclass(frozen=True, kw_only=True)
class Recomputed:
    """How rows of a sample agree with what is computed now."""

    total: int
    """Rows of the sweep."""
    equal: int
    """Rows that agree bit for bit."""
    rounded: int
    """Rows that agree to float rounding."""
    others: Sequence[str]
    """The rows that do not agree, each in a line."""

    @property
    def sampled(self) -> int:
        """How many rows were computed again."""
        return self.equal + self.rounded + len(self.others)


def recompute(
    snapshot: Snapshot,
    count: int,
    *,
    seed: int = 0,
    allow_code: bool = False,
    notice: Callable[[str], None] = lambda _: None,
) -> Recomputed:
    """Compute a sample of rows again in this process.

    The sampled examples of a setting are attacked together, without the others of their shards, so another batch may
    change the rounding. A row that then differs by more than rounding is judged by its whole shard, computed again as
    it was: so are the rows of random victims, whose noise follows from the shard.

    Parameters
    ----------
    count, seed
        How many rows, and which: all if there are fewer.
    allow_code
        Whether code that the results name may be imported.

    Raises
    ------
    UserError
        The data set is not on this machine, or the results name code that is not allowed.
    """
    worker = idle_worker(snapshot, allow_code=allow_code, notice=notice)
    total, rows = _sample(snapshot, count, seed)
    own = [row for row in rows if row["model"] == row["evaluated_on"]]
    again = dict(_attacked(worker, snapshot, own)) | dict(_transferred(worker, rows))
    agreements = {_key(row): _agreement(row, again.get(_key(row))) for row in rows}
    doubtful = [row for row in own if agreements[_key(row)] == "other"]
    whole = dict(_whole_shards(worker, snapshot, {row["shard"] for row in doubtful}))
    agreements |= {_key(row): _agreement(row, whole.get(_key(row))) for row in doubtful}
    found = list(agreements.values())
    return Recomputed(
        total=total,
        equal=found.count("equal"),
        rounded=found.count("rounded"),
        others=[_text(row) for row in rows if agreements[_key(row)] == "other"],
    )


def idle_worker(
    snapshot: Snapshot, *, allow_code: bool = False, notice: Callable[[str], None] = lambda _: None
) -> Worker:
    """Return a worker in this process for the victims and the data of a sweep; it commits nothing unless told to.

    Raises
    ------
    UserError
        The data set is not on this machine, or the results name code that is not allowed.
    """
    if not allow_code and (name := next(_code(snapshot), None)):
        raise UserError(f"{name} is code, which is not imported to look at results; --allow-code imports it")
    data, spec, folder = snapshot.data(), snapshot.spec, snapshot.folder
    if isinstance(data, str):
        raise UserError(data)
    worker = Worker(
        Setup(
            results=folder.root,
            models=None,
            batch_size=spec.batch_size,
            threads=spec.resources.threads,
            confirmations=spec.confirmations,
        ),
        name="here",
        report=lambda *_: None,
        advance=lambda _: None,
        notice=notice,
        load_data=lambda: data,
        read_victim=lambda digest: read_model(folder.model(digest)),
    )
    worker.prepare()
    return worker


def _code(snapshot: Snapshot) -> Iterator[str]:
    """Yield the names of the code that attacks, the detectors that they know, and victims need."""
    yield from (entry.name for entry in snapshot.spec.attacks if ATTACKS.is_own(entry.name))
    known = [entry.parameters["adaptive"]["name"] for entry in snapshot.spec.attacks if "adaptive" in entry.parameters]
    yield from filter(DETECTORS.is_own, known)
    for victim in snapshot.victims:
        recipe = snapshot.recipes.get(victim.digest)
        for each in _with_members(recipe) if recipe else ():
            if is_code(each.arch):
                yield each.arch
            if DEFENSES.is_own(each.defense["name"]):
                yield each.defense["name"]


def _with_members(recipe: Recipe) -> Iterator[Recipe]:
    yield recipe
    for member in recipe.member_recipes() if recipe.members is not None else ():
        yield from _with_members(member)


def _sample(snapshot: Snapshot, count: int, seed: int) -> tuple[int, list[Row]]:
    """Return how many rows there are, and a sample of them that does not depend on their files."""
    stored = snapshot.stored_rows
    batches = stored.batches(["image"], at_most=AT_ONCE)
    counts = pd.concat([_NONE, *(batch["line"].value_counts() for batch in batches)])
    order = stored.lines.sort_values(["cell", "evaluated_on"]).index
    total = int(counts.sum())
    chosen = sorted(random.Random(f"verify/{seed}").sample(range(total), min(count, total)))
    rows: list[Row] = []
    begin = 0
    for line in [line for line in order.tolist() if line in counts.index]:
        places = [place - begin for place in chosen if begin <= place < begin + counts[line]]
        begin += int(counts[line])
        if places:
            content = stored.read(SCHEMA.names, [line])
            taken = content.sort_values(["image", "target"], na_position="first", kind="stable").iloc[places]
            rows += [
                row | {"shard": shard} for row, shard in zip(row_contents(taken), taken["shard"].tolist(), strict=True)
            ]
    return total, rows


def _attacked(worker: Worker, snapshot: Snapshot, rows: Iterable[Row]) -> Iterator[tuple[Key, Row]]:
    """Attack the examples of some rows, those of one setting and victim together."""
    blocks = _blocks(snapshot)
    examples: dict[str, list[Example]] = defaultdict(list)
    for row in rows:
        examples[blocks[row["cell"]].digest].append(_example(row))
    for block in {block.digest: block for block in blocks.values()}.values():
        if block.digest in examples:
            yield from _computed(worker, replace(block, examples=tuple(dict.fromkeys(examples[block.digest]))))


def _whole_shards(worker: Worker, snapshot: Snapshot, digests: Iterable[str]) -> Iterator[tuple[Key, Row]]:
    """Attack the examples of whole shards again; a part that is not the shard of its name is passed over."""
    blocks = _blocks(snapshot)
    for digest in sorted(digests):
        rows = list(row_contents(read_rows([worker.results.part(digest)])))
        cells = [row["cell"] for row in rows if row["cell"] in blocks]
        if not cells:
            continue
        shard = replace(blocks[cells[0]], examples=tuple(dict.fromkeys(map(_example, rows))))
        if shard.digest == digest:
            yield from _computed(worker, shard)


def _computed(worker: Worker, shard: Shard) -> Iterator[tuple[Key, Row]]:
    for row in row_contents(as_stored(worker.attacked(shard).rows)):
        yield _key(row), row


def _transferred(worker: Worker, rows: Iterable[Row]) -> Iterator[tuple[Key, Row]]:
    """Test the stored images again that some rows were tested with on another victim."""
    pairs = {(row["evaluated_on"], row["shard"]) for row in rows if row["model"] != row["evaluated_on"]}
    for victim, shard in sorted(pairs):
        if worker.results.image_part(shard).is_file():
            for row in row_contents(as_stored(worker.transferred(Transfer(shard=shard, victim_digest=victim)))):
                yield _key(row), row


def _blocks(snapshot: Snapshot) -> Mapping[str, Shard]:
    """Return the setting of each cell on its victim, as a shard without examples."""
    empty = grid.blocks(snapshot.spec, snapshot.dataset, snapshot.victims)
    plain = [replace(block, victim=replace(block.victim, images=(), labels=(), targets=())) for block in empty]
    return {cell: block for block in plain for cell in block.cell_digests.values()}


def _example(row: Mapping[str, Any]) -> Example:
    return Example(row["image"], row["label"], row["target"], row["beta"], row["kappa"])


def _key(row: Mapping[str, Any]) -> Key:
    return row["cell"], row["image"], row["target"], row["evaluated_on"]


def _agreement(row: Row, again: Row | None) -> Agreement:
    """Return how a row agrees with what was computed now."""
    if again is None:
        return "other"
    if {**row, "shard": None} == {**again, "shard": None}:
        return "equal"
    pair = {f"{name}_{end}": [each[name]] for end, each in enumerate((row, again)) for name in ("success", *DISTANCES)}
    return "other" if contradictory(pd.DataFrame(pair), "_0", "_1").any() else "rounded"


def _text(row: Row) -> str:
    """Name a row for messages."""
    aim = "untargeted" if row["target"] is None else f"target {row['target']}"
    tested = "" if row["model"] == row["evaluated_on"] else f" on victim {row['evaluated_on']}"
    return f"image {row['image']}, {aim}, in cell {row['cell']}{tested}"
