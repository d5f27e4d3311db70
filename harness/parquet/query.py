"""SQL over Parquet files of one schema, by DuckDB: it decodes the columns, and keeps the rows, that a query names.

Beside DuckDB, pyarrow's data sets took twice the seconds and four times the memory over many small files.
"""

from collections.abc import Mapping, Sequence
from glob import escape
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from eadbench.harness.errors import EnvironmentFault, UserError
from eadbench.harness.storage import for_arrow

__all__ = ["FILES", "Files"]

# A folder such as `beta=1` must not become a column.
FILES = "read_parquet($files, hive_partitioning = false) AS rows"
"""What a query reads from. Beside the columns there are `file_index` (among the files read) and `file_row_number`."""


class Files:
    """Parquet files of one storage, which have the columns of a schema.

    Queries may come from several threads.

    Parameters
    ----------
    paths
        At least one.
    what
        What the files should be, for the message about one that is not.
    """

    def __init__(self, paths: Sequence[Path], schema: pa.Schema, what: str) -> None:
        self._paths, self._schema, self._what = paths, schema, what
        self._connection = duckdb.connect(config={"enable_external_file_cache": "false"})
        _, filesystem = for_arrow(paths[:1])
        if filesystem is not None:
            self._connection.register_filesystem(filesystem)

    def define(self, name: str, table: pa.Table) -> None:
        """Make a table that queries can join."""
        self._connection.register("given", table)
        self._connection.execute(f"CREATE TABLE {name} AS SELECT * FROM given")
        self._connection.unregister("given")

    def ask(self, query: str, given: Mapping[str, Any] | None = None, *, only: Sequence[int] | None = None) -> pa.Table:
        """What a query that reads from :data:`FILES` finds.

        Parameters
        ----------
        given
            The query's ``$parameters``.
        only
            The files to read, as indices in ascending order; all unless given.

        Raises
        ------
        UserError
            A file is damaged, or has other columns: the message names it.
        EnvironmentFault
            The files cannot be read, though each is as it should be.
        """
        paths = self._paths if only is None else [self._paths[index] for index in only]
        parameters = {**(given or {}), "files": [escape(str(path)) for path in paths]}
        self._check(paths[0], whole=False)  # the others are cast to its types
        try:
            return self._connection.cursor().sql(query, params=parameters).to_arrow_table()
        except (duckdb.Error, OSError) as error:
            named = [path for path in paths if str(path) in str(error)]
            for path in [*named, *paths]:
                self._check(path, whole=True)
            raise EnvironmentFault(f"{paths[0].parent}: cannot be read: {_one_line(error)}") from error

    def _check(self, path: Path, *, whole: bool) -> None:
        """Refuse a file that is damaged, gone, or has other columns than the schema's."""
        refused = f"{path}: not {self._what}"
        [name], filesystem = for_arrow([path])
        try:
            if whole:
                found = pq.read_table(name, filesystem=filesystem, partitioning=None).schema
            else:
                found = pq.read_schema(name, filesystem=filesystem)
        except FileNotFoundError as error:
            raise UserError(f"{refused}: there is no such file") from error
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{refused}: {_one_line(error)}") from error
        for field in self._schema:
            if field.name not in found.names:
                raise UserError(f"{refused}: it has no column {field.name}")
            if (kind := found.field(field.name).type) != field.type:
                raise UserError(f"{refused}: its column {field.name} is {kind}, not {field.type}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
