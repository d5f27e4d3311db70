"""Query Parquet files of one schema with DuckDB, which decodes only the columns that a query names.

On many small files, pyarrow's data sets took twice the time and four times the memory. DuckDB also keeps to a limit of
memory while it decodes: a file of a few kilobytes can hold pages of gigabytes.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from glob import escape
from pathlib import Path
from tempfile import gettempdir
from typing import Any
from uuid import uuid4

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from eadbench.harness.errors import DamagedResults, EnvironmentFault
from eadbench.harness.messages import one_line
from eadbench.harness.storage import for_arrow, is_fault_of_storage

__all__ = ["FILES", "Files"]

MEMORY = 2**29
"""Bytes that DuckDB takes to decode and sort; what is larger is sorted on disk, in the system's temporary folder."""
_SETTINGS = {
    "enable_external_file_cache": "false",
    "memory_limit": f"{MEMORY}B",
    "max_temp_directory_size": "50GB",
    "autoinstall_known_extensions": "false",
}

# Without the option, a folder such as `beta=1` would become a column.
FILES = "read_parquet($files, hive_partitioning = false) AS rows"
"""The source of every query. It adds the columns `file_index` (among the files read) and `file_row_number`."""
_OF_ALL_VERSIONS = (
    "(SELECT *, file_index, file_row_number "
    "FROM read_parquet($files, hive_partitioning = false, union_by_name = true) "
    "UNION ALL BY NAME SELECT {later} WHERE false) AS rows"
)
"""The same source where some files lack columns that came later, which are null then. It is slower."""
_TYPES = {
    pa.string(): "VARCHAR",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
}
_EVERY_VALUE = f"SELECT max(COLUMNS(*)) FROM {FILES}"


class Files:
    """Parquet files in one storage with the columns of a schema.

    Several threads may query at the same time.

    Parameters
    ----------
    paths
        At least one file.
    schema
        Columns of the files.
    later
        Columns that older files lack, and that are null for them. Every file must have the others.
    content
        Content of the files in words, for error messages: ``the rows of a sweep``.
    """

    def __init__(self, paths: Sequence[Path], schema: pa.Schema, content: str, *, later: Collection[str] = ()) -> None:
        self._paths, self._schema, self._content, self._later = paths, schema, content, later
        self._old = False
        """Whether a file is known to lack a column that came later."""
        temporary = Path(gettempdir(), f"eadbench-{os.getpid()}-{uuid4().hex[:8]}")  # made if something is too large
        self._connection = duckdb.connect(config={**_SETTINGS, "temp_directory": str(temporary)})
        _, filesystem = for_arrow(paths[:1])
        if filesystem is not None:
            self._connection.register_filesystem(filesystem)

    def create_table(self, name: str, table: pa.Table) -> None:
        """Create a table that queries can join."""
        self._connection.register("source", table)
        self._connection.execute(f"CREATE TABLE {name} AS SELECT * FROM source")
        self._connection.unregister("source")

    def ask(
        self, query: str, parameters: Mapping[str, Any] | None = None, *, indices: Sequence[int] | None = None
    ) -> pa.Table:
        """Run a query on :data:`FILES` and return its result.

        Parameters
        ----------
        parameters
            Values of the query's ``$names``.
        indices
            Indices of the files to read, in ascending order; all unless given.

        Raises
        ------
        DamagedResults
            A file is damaged, or lacks a column: the message names it.
        EnvironmentFault
            The files cannot be read, although each is intact.
        """
        paths = self._paths if indices is None else [self._paths[index] for index in indices]
        values = {**(parameters or {}), "files": [escape(str(path)) for path in paths]}
        self._check(paths[0], whole=False)  # DuckDB casts the other files to the types of the first
        old = self._old
        try:
            return self._answer(query, values)
        except (duckdb.Error, OSError) as error:
            if self._later and not old:
                for path in paths:
                    self._check(path, whole=False)
                if self._old:
                    return self.ask(query, parameters, indices=indices)
            suspects = [path for path in paths if str(path) in str(error)]
            for path in dict.fromkeys([*suspects, *paths]):
                self._check(path, whole=True)
            raise EnvironmentFault(f"{paths[0].parent}: cannot be read: {one_line(error)}") from error

    def _answer(self, query: str, values: Mapping[str, Any]) -> pa.Table:
        """Run a query, with nulls for columns that some files lack because they came later."""
        if self._old:
            later = (f"NULL::{_TYPES[self._schema.field(name).type]} AS {name}" for name in sorted(self._later))
            query = query.replace(FILES, _OF_ALL_VERSIONS.format(later=", ".join(later)))
        return self._connection.cursor().sql(query, params=values).to_arrow_table()

    def _check(self, path: Path, *, whole: bool) -> None:
        """Refuse a file that is missing or damaged, or lacks a column that it must have; note one that came later."""
        refusal = f"not {self._content}"
        [name], filesystem = for_arrow([path])
        try:
            schema = pq.read_schema(name, filesystem=filesystem)
            if whole:
                self._connection.cursor().sql(_EVERY_VALUE, params={"files": [escape(str(path))]}).fetchall()
        except FileNotFoundError as error:
            raise DamagedResults.of(path, f"{refusal}: there is no such file") from error
        except duckdb.OutOfMemoryException as error:
            raise DamagedResults.of(
                path, f"{refusal}: a value or page of it takes more than {MEMORY:,} bytes"
            ) from error
        except (pa.ArrowException, duckdb.Error, OSError) as error:
            if is_fault_of_storage(error):
                raise
            raise DamagedResults.of(path, f"{refusal}: {one_line(error)}") from error
        for field in self._schema:
            if field.name not in schema.names:
                if field.name in self._later:
                    self._old = True
                    continue
                raise DamagedResults.of(path, f"{refusal}: it has no column {field.name}")
            if (kind := schema.field(field.name).type) != field.type:
                raise DamagedResults.of(path, f"{refusal}: its column {field.name} is {kind}, not {field.type}")
