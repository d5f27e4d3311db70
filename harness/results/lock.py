"""What a sweep's results are, in a few hashes: `results.lock`, to be kept beside published numbers.

::

    DIR/results.lock    the hashes of the spec, the data set, the victims and all rows, small enough for an appendix
    DIR/roots.json      the root of each cell on each victim, by which a changed row's cell is found

They do not depend on the shards, the executor, or the number of workers.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eadbench.harness import spec as specs
from eadbench.harness.errors import UserError
from eadbench.harness.parquet.rows import LATER, SCHEMA
from eadbench.harness.plan.cells import FORMAT
from eadbench.harness.results.folder import Results
from eadbench.harness.results.json_files import stored_json, write_text
from eadbench.harness.results.merkle import root_of, row_text
from eadbench.harness.results.model_files import recorded_sha256
from eadbench.harness.results.snapshot import Snapshot
from eadbench.harness.spec import Spec
from eadbench.models import canonical_json

__all__ = [
    "LOCK",
    "ROOTS",
    "Attested",
    "Lock",
    "Roots",
    "attested",
    "differences",
    "read_lock",
    "row_contents",
    "spec_hash",
    "write_lock",
]

LOCK, ROOTS = "results.lock", "roots.json"
VERSION = 1
"""The version of how rows are hashed."""
AT_ONCE = 2**18
"""Rows in memory at once; more only if a single line has more."""
_NAMED = 3
"""Cells that a sentence names."""

Roots = Mapping[str, Mapping[str, str]]
"""The root of each line: by cell, and by the victim tested on."""


@dataclass(frozen=True, kw_only=True)
class Lock:
    """Content of `results.lock`."""

    lock: int
    """Version of the lock."""
    format: int
    """Version of the results' format."""
    sweep: str
    """The sweep's name."""
    spec: str
    """SHA-256 of the spec, without the resources that rows do not depend on."""
    dataset: str
    """Identity of the data set."""
    victims: Mapping[str, str | None]
    """SHA-256 of the weights of each victim, by the digest of its recipe; None for a model without a record of it."""
    rows: int
    """How many rows answer the spec."""
    root: str
    """Merkle root of these rows."""


@dataclass(frozen=True, kw_only=True)
class Attested:
    """The lock of a sweep's rows, and the roots of its lines."""

    lock: Lock
    roots: Roots


def attested(snapshot: Snapshot) -> Attested:
    """Hash the rows of a folder that answer its spec.

    Raises
    ------
    DamagedResults
        A part is damaged.
    """
    stored, roots, count = snapshot.stored_rows, dict[str, dict[str, str]](), 0
    for batch in stored.batches([*SCHEMA.names], at_most=AT_ONCE):
        for line, rows in batch.groupby("line"):
            cell, tested = (str(stored.lines.at[line, name]) for name in ("cell", "evaluated_on"))
            roots.setdefault(cell, {})[tested] = root_of(_texts(rows))
            count += len(rows)
    lock = Lock(
        lock=VERSION,
        format=FORMAT,
        sweep=snapshot.spec.name,
        spec=spec_hash(snapshot.spec),
        dataset=snapshot.dataset,
        victims={victim.digest: recorded_sha256(snapshot.folder.model(victim.digest)) for victim in snapshot.victims},
        rows=count,
        root=_root(roots),
    )
    return Attested(lock=lock, roots=roots)


def row_contents(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield what is hashed of each row, by column.

    Its shard is left out, which follows from how the sweep was cut, and so is a column that came later if it is null.
    """
    names = [name for name in sorted(SCHEMA.names) if name in rows and name != "shard"]
    columns = {name: _plain(rows[name]) for name in names}
    for values in zip(*columns.values(), strict=True):
        content = dict(zip(columns, values, strict=True))
        yield {name: value for name, value in content.items() if value is not None or name not in LATER}


def _plain(column: "pd.Series[Any]") -> list[Any]:
    """Return the values of a column as JSON has them, with None for null."""
    return [_value(value) for value in column.astype(object).tolist()]


def _value(value: Any) -> Any:
    if isinstance(value, np.ndarray | list):
        return [_value(item) for item in value]
    if value is None or value is pd.NA or value != value:  # NaN
        return None
    return value.item() if isinstance(value, np.generic) else value


def _texts(rows: pd.DataFrame) -> list[str]:
    """Return the leaves of a line, sorted."""
    rows = rows.drop(columns="line").sort_values(["image", "target"], na_position="first", kind="stable")
    return [row_text(content) for content in row_contents(rows)]


def spec_hash(spec: Spec) -> str:
    """Return the SHA-256 of a spec; of its resources only the threads change rows, in their rounding."""
    content = specs.written(spec)
    content["resources"] = {"threads": spec.resources.threads}
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def write_lock(results: Results, found: Attested) -> str:
    """Write the lock and the roots into a results folder. Return the lock's text."""
    text = json.dumps(asdict(found.lock), indent=1) + "\n"
    write_text(results.root / ROOTS, json.dumps(found.roots, indent=1))
    write_text(results.root / LOCK, text)
    return text


def read_lock(path: Path) -> Lock:
    """Read a lock.

    Raises
    ------
    UserError
        There is none, or it is of another version.
    DamagedResults
        It is damaged.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no lock; `eadbench run` writes one when a sweep ends")
    lock: Lock = stored_json(path, Lock, "run the sweep again, or give the published one with --lock")
    if (lock.lock, lock.format) != (VERSION, FORMAT):
        raise UserError(
            f"{path}: a lock of version {lock.lock} for results of format {lock.format}, not {VERSION} and {FORMAT}; "
            "use the version of eadbench that wrote it"
        )
    return lock


def differences(results: Results, lock: Lock, found: Attested) -> list[str]:
    """Return in sentences how the results in a folder differ from a lock; none if they are the same."""
    ours = found.lock
    texts = [
        f"{name} is {getattr(ours, name)}, and {getattr(lock, name)} in the lock"
        for name in ("sweep", "spec", "dataset")
        if getattr(ours, name) != getattr(lock, name)
    ]
    for victim in dict.fromkeys([*lock.victims, *ours.victims]):
        theirs, here = (each.victims.get(victim, "missing") for each in (lock, ours))
        if theirs != here:
            texts.append(f"victim {victim}: its weights are {here}, and {theirs} in the lock")
    if ours.root != lock.root:
        rows = f"{ours.rows:,} rows, and {lock.rows:,} in the lock" if ours.rows != lock.rows else "other rows"
        texts.append(f"rows: root {ours.root}, and {lock.root} in the lock; {rows}{_where(results, lock, found.roots)}")
    return texts


def _where(results: Results, lock: Lock, roots: Roots) -> str:
    """Return which cells differ, if the folder's roots are those of the lock."""
    path = results.root / ROOTS
    known: Roots = stored_json(path, Roots) if path.is_file() else {}
    if _root(known) != lock.root:
        return ""
    lines = {(cell, tested) for each in (known, roots) for cell, on in each.items() for tested in on}
    cells = sorted({cell for cell, tested in lines if _at(known, cell, tested) != _at(roots, cell, tested)})
    others = f" and {len(cells) - _NAMED:,} more" if len(cells) > _NAMED else ""
    return f"; they differ in cell {', '.join(cells[:_NAMED])}{others}"


def _at(roots: Roots, cell: str, tested: str) -> str | None:
    return roots.get(cell, {}).get(tested)


def _root(roots: Roots) -> str:
    """Return the root over the roots of lines."""
    lines = sorted((cell, tested, root) for cell, on in roots.items() for tested, root in on.items())
    return root_of(map(canonical_json, lines))
