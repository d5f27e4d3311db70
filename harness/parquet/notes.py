"""Notes in the metadata of Parquet parts: how many rows there must be, their checksum, and what computed them."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from eadbench.harness.errors import DamagedResults
from eadbench.harness.messages import one_line
from eadbench.harness.storage import for_arrow, is_fault_of_storage

__all__ = ["Computed", "Note", "check_rows", "mixture", "noted", "read_notes"]

Computed = Mapping[str, str | int | None]
"""What changes the rounding of figures, by name: torch, CUDA, device, threads, batch size."""

_KEY = b"eadbench"
_AT_ONCE = 16
"""Files read at the same time; this speeds up object stores."""
MOST_ROWS = 2**22
"""Rows of a part that a sweep writes."""
MOST_BYTES = 2**29
"""Bytes of a column of a part's row group, of those that a sweep writes. A few kilobytes of Parquet can hold more."""
MOST_CHARACTERS = 2**16
"""Characters of a text of a part that a sweep writes."""
_BATCH_BYTES = 2**24


@dataclass(frozen=True, kw_only=True)
class Note:
    """The note of a part."""

    rows: int
    sha256: str
    computed: Computed = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    """The SHA-256 of the weights that the rows were computed with, by the victim's digest."""
    code: Mapping[str, str] = field(default_factory=dict)
    """The SHA-256 of the files of the user's own code that computed the rows, by the module's name."""


_NOTE = TypeAdapter(Note)


def noted(
    table: pa.Table,
    computed: Computed,
    weights: Mapping[str, str] = MappingProxyType({}),
    code: Mapping[str, str] = MappingProxyType({}),
) -> pa.Table:
    """Return a table with a note in its metadata."""
    digest = checksum((name, table.column(name).chunks) for name in table.column_names)
    note = Note(rows=table.num_rows, sha256=digest, computed=computed, weights=dict(weights), code=dict(code))
    text = json.dumps(asdict(note), sort_keys=True).encode()
    return table.replace_schema_metadata({**(table.schema.metadata or {}), _KEY: text})


def checksum(columns: Iterable[tuple[str, Iterable[pa.Array]]]) -> str:
    """Return the SHA-256 of values, column by column, as 64 hex digits.

    Parameters
    ----------
    columns
        The name of each column, and its values in any number of arrays.
    """
    digest = hashlib.sha256()
    for name, arrays in columns:
        digest.update(name.encode())
        for content in _content(arrays):
            digest.update(content)
    return digest.hexdigest()


def _content(arrays: Iterable[pa.Array]) -> Iterator[bytes]:
    """Yield the values of a column: pixels as they are in memory, others as a list of JSON."""
    separator = b"["
    for array in arrays:
        if pa.types.is_fixed_size_list(array.type):  # pixels
            separator = b""
            yield array.flatten().to_numpy(zero_copy_only=False).tobytes()
        elif len(array):
            yield separator + json.dumps(array.to_pylist())[1:-1].encode()
            separator = b", "
    yield {b"[": b"[]", b", ": b"]"}.get(separator, b"")


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
        note = _NOTE.validate_json((metadata.metadata or {})[_KEY])
    except FileNotFoundError as error:
        raise DamagedResults.of(part, f"not {content}: there is no such file") from error
    except KeyError as error:
        raise DamagedResults.of(part, f"not {content}: it has no note of its rows") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and is_fault_of_storage(error):
            raise
        raise DamagedResults.of(part, f"not {content}: {one_line(error)}") from error
    if metadata.num_rows != note.rows:
        raise DamagedResults.of(part, f"has {metadata.num_rows:,} of its {note.rows:,} rows")
    return note


def check_rows(part: Path, content: str, schema: pa.Schema, later: Collection[str] = ()) -> None:
    """Read a whole part, and check its columns, the number of its rows and their checksum.

    Only some rows of one column are in memory at a time. The part may lack columns that came `later`.

    Raises
    ------
    DamagedResults
        The part is not as it was written.
    """
    note = _read_note(part, content)
    [path], filesystem = for_arrow([part])
    try:
        stored = pq.read_schema(path, filesystem=filesystem)
        schema = pa.schema([field for field in schema if field.name in stored.names or field.name not in later])
        if not stored.equals(schema):
            raise DamagedResults.of(part, f"not {content}: its columns are others")
        texts = [field.name for field in schema if pa.types.is_string(field.type)]
        with pq.ParquetFile(path, filesystem=filesystem, read_dictionary=texts) as file:
            _refuse_large(file.metadata)
            digest = checksum(_columns(file, schema))
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and is_fault_of_storage(error):
            raise
        raise DamagedResults.of(part, f"not {content}: {one_line(error)}") from error
    if digest != note.sha256:
        raise DamagedResults.of(part, "its rows do not have the checksum that was written with them")


def _refuse_large(metadata: pq.FileMetaData) -> None:
    """Refuse a file that would take too much time, or of which one column would take too much memory."""
    if metadata.num_rows > MOST_ROWS:
        raise ValueError(f"it has {metadata.num_rows:,} rows")
    for group in range(metadata.num_row_groups):
        for column in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(column)
            if chunk.total_uncompressed_size > MOST_BYTES:
                raise ValueError(f"its column {chunk.path_in_schema} takes {chunk.total_uncompressed_size:,} bytes")


def _columns(file: pq.ParquetFile, schema: pa.Schema) -> Iterator[tuple[str, Iterable[pa.Array]]]:
    """Yield the name of each column, and its values: all of a small file at once, else some megabytes of one column."""
    if file.metadata.num_rows <= min(map(_rows_at_once, schema)) and _size(file.metadata) <= _BATCH_BYTES:
        table = file.read()
        for field in schema:
            yield field.name, map(_without_long_texts, table.column(field.name).chunks)
        return
    for field in schema:
        batches = file.iter_batches(_rows_at_once(field), columns=[field.name])
        yield field.name, (_without_long_texts(batch.column(0)) for batch in batches)


def _rows_at_once(field: pa.Field) -> int:
    """Return how many rows of a column are read at a time."""
    width = 4 * field.type.list_size if pa.types.is_fixed_size_list(field.type) else 2**12
    if width > MOST_BYTES:
        raise ValueError(f"a row takes {width:,} bytes")
    return max(1, int(_BATCH_BYTES // width))


def _size(metadata: pq.FileMetaData) -> int:
    return sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))


def _without_long_texts(array: pa.Array) -> pa.Array:
    """Return an array without a dictionary; refuse one with a text that no sweep writes."""
    if not pa.types.is_dictionary(array.type):
        return array
    longest = pc.max(pc.utf8_length(array.dictionary)).as_py() or 0
    if longest > MOST_CHARACTERS:
        raise ValueError(f"it has a text of {longest:,} characters")
    return array.dictionary_decode()


def mixture(notes: Sequence[Note]) -> str | None:
    """Return in a sentence what differed when parts were computed; None if nothing did."""
    values: dict[str, set[str]] = defaultdict(set)
    weights: dict[str, set[str]] = defaultdict(set)
    code: dict[str, set[str]] = defaultdict(set)
    for note in notes:
        for name, value in note.computed.items():
            values[name].add(str(value))
        for victim, sha256 in note.weights.items():
            weights[victim].add(sha256)
        for module, sha256 in note.code.items():
            code[module].add(sha256)
    sentences = [
        f"the rows of victim {victim} are of {len(found)} networks with different weights, so that figures mix them"
        for victim, found in sorted(weights.items())
        if len(found) > 1
    ]
    sentences += [
        f"the rows were computed with {len(found)} versions of the module {module}, so that figures mix them"
        for module, found in sorted(code.items())
        if len(found) > 1
    ]
    differences = [f"{name} ({', '.join(sorted(found))})" for name, found in sorted(values.items()) if len(found) > 1]
    if differences:
        sentences.append(
            f"the rows were computed with different {', '.join(differences)}; such rows agree to rounding only"
        )
    return "; ".join(sentences) or None
