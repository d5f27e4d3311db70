"""Notes in the metadata of Parquet parts: how many rows there must be, their checksum, and what computed them."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from eadbench.harness.errors import DamagedResults
from eadbench.harness.messages import one_line
from eadbench.harness.storage import for_arrow, is_fault_of_storage

__all__ = ["Computed", "Note", "check_rows", "mixture", "noted", "read_notes"]

Computed = Mapping[str, str | int | None]
"""What changes the rounding of figures, by name: torch, CUDA, device, threads, batch size."""

_KEY = b"eadbench"
_AT_ONCE = 16
"""Files read at the same time; this speeds up object stores."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """The note of a part."""

    rows: int
    sha256: str
    computed: Computed = field(default_factory=dict)


def noted(table: pa.Table, computed: Computed) -> pa.Table:
    """Return a table with a note in its metadata."""
    note = Note(rows=table.num_rows, sha256=checksum(table), computed=computed)
    text = json.dumps(asdict(note), sort_keys=True).encode()
    return table.replace_schema_metadata({**(table.schema.metadata or {}), _KEY: text})


def checksum(table: pa.Table) -> str:
    """Return the SHA-256 of a table's values, column by column, as 64 hex digits."""
    digest = hashlib.sha256()
    for name in table.column_names:
        column = table.column(name)
        digest.update(name.encode())
        if pa.types.is_fixed_size_list(column.type):  # pixels
            digest.update(column.combine_chunks().flatten().to_numpy(zero_copy_only=False).tobytes())
        else:
            digest.update(json.dumps(column.to_pylist()).encode())
    return digest.hexdigest()


def read_notes(parts: Sequence[Path], content: str) -> list[Note]:
    """Read the note of every part, and check the number of its rows.

    Parameters
    ----------
    content
        Content of the parts in words: ``the rows of a sweep``.

    Raises
    ------
    DamagedResults
        A part is no Parquet file, has no note, or another number of rows than its note says.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda part: _read_note(part, content), parts))


def _read_note(part: Path, content: str) -> Note:
    [path], filesystem = for_arrow([part])
    try:
        metadata = pq.read_metadata(path, filesystem=filesystem)
        note = Note(**json.loads((metadata.metadata or {})[_KEY]))
    except FileNotFoundError as error:
        raise DamagedResults.of(part, f"not {content}: there is no such file") from error
    except KeyError as error:
        raise DamagedResults.of(part, f"not {content}: it has no note of its rows") from error
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        if isinstance(error, OSError) and is_fault_of_storage(error):
            raise
        raise DamagedResults.of(part, f"not {content}: {one_line(error)}") from error
    if metadata.num_rows != note.rows:
        raise DamagedResults.of(part, f"has {metadata.num_rows:,} of its {note.rows:,} rows")
    return note


def check_rows(part: Path, content: str, schema: pa.Schema | None = None) -> None:
    """Read a whole part, and check its columns, the number of its rows and their checksum.

    Raises
    ------
    DamagedResults
        The part is not as it was written.
    """
    note = _read_note(part, content)
    [path], filesystem = for_arrow([part])
    try:
        table = pq.read_table(path, filesystem=filesystem, partitioning=None)
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and is_fault_of_storage(error):
            raise
        raise DamagedResults.of(part, f"not {content}: {one_line(error)}") from error
    if schema is not None and not table.schema.equals(schema):
        raise DamagedResults.of(part, f"not {content}: its columns are others")
    if checksum(table) != note.sha256:
        raise DamagedResults.of(part, "its rows do not have the checksum that was written with them")


def mixture(notes: Sequence[Note]) -> str | None:
    """Return in a sentence what differed when parts were computed; None if nothing did."""
    values: dict[str, set[str]] = defaultdict(set)
    for note in notes:
        for name, value in note.computed.items():
            values[name].add(str(value))
    differences = [f"{name} ({', '.join(sorted(found))})" for name, found in sorted(values.items()) if len(found) > 1]
    if not differences:
        return None
    return f"the rows were computed with different {', '.join(differences)}; such rows agree to rounding only"
