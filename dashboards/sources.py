"""The results folders that the explorer shows. Everything is read once for each state of a folder."""

import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

import pandas as pd
import streamlit as st

from eadbench.dashboards import curve_points
from eadbench.harness import datasets
from eadbench.harness.analysis import aggregate
from eadbench.harness.analysis import summary as summaries
from eadbench.harness.analysis.planned import planned
from eadbench.harness.analysis.summary import AT_ONCE, Summary
from eadbench.harness.paper import comparison
from eadbench.harness.parquet.adversarial import Images, read_images
from eadbench.harness.parquet.query import FILES, Files
from eadbench.harness.parquet.rows import SCHEMA, WHAT, Key, frame_of, keys_of
from eadbench.harness.parquet.stored import StoredRows
from eadbench.harness.results.folder import Results
from eadbench.harness.results.snapshot import Snapshot
from eadbench.harness.storage import is_local, located

_LINE = ["cell", "evaluated_on", "case"]
"""The columns that identify a line of the summary."""
ALLOW_CODE = "--allow-code"
_STATES = 8
"""States of folders that are cached at a time."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The results in a folder, as they were when this session first read them."""

    name: str
    folder: str
    state: str
    """A digest that changes with the spec, the victims and the parts."""
    seen: datetime

    @property
    def results(self) -> Results:
        """The results folder."""
        return self.snapshot.folder

    @property
    def snapshot(self) -> Snapshot:
        """The contents of the folder in that state."""
        return _snapshot(self.folder, self.state)

    def summary(self) -> Summary:
        """Return the summary of the rows, without intervals, which take most of the time."""
        return _summary(self.folder, self.state)

    def with_intervals(self, lines: pd.DataFrame) -> pd.DataFrame:
        """Return lines of that summary with their intervals; each line's intervals are computed once."""
        first, known = lines.drop_duplicates(_LINE[:2]), _intervals(self.folder, self.state)
        keys = list(zip(first["cell"], first["evaluated_on"], strict=True))
        missing = first[[key not in known for key in keys]]
        if len(missing):
            known |= _with_intervals(self.folder, self.state, tuple(self.numbers(missing).tolist()))
        summary = pd.concat([known[key] for key in keys]).set_index(_LINE)
        return summary.loc[pd.MultiIndex.from_frame(lines[_LINE])].reset_index().set_index(lines.index)[lines.columns]

    def numbers(self, lines: pd.DataFrame) -> pd.Series:
        """Return the numbers that :meth:`read` has for lines of the summary."""
        stored = self.stored().lines
        numbers = pd.Series(stored.index, index=pd.MultiIndex.from_frame(stored[_LINE[:2]]))
        return pd.Series(numbers.loc[pd.MultiIndex.from_frame(lines[_LINE[:2]])].to_numpy(), index=lines.index)

    def stored(self) -> StoredRows:
        """Return the rows that answer the spec."""
        return self.snapshot.stored_rows

    def read(self, columns: Sequence[str], line: int) -> pd.DataFrame:
        """Return some columns of the rows of a line."""
        return _read(self.folder, self.state, tuple(columns), line)

    def broken_within(self, lines: Sequence[int], metric: str) -> dict[int, pd.DataFrame]:
        """Return, by line, the result of :func:`dashboards.curve_points.broken_within`."""
        return _broken_within(self.folder, self.state, tuple(lines), metric)

    def costs(self, lines: Sequence[int]) -> "pd.Series[float]":
        """Return, by line, the mean number of gradient evaluations per example."""
        return _costs(self.folder, self.state, tuple(lines))

    def compared(self) -> pd.DataFrame | None:
        """Return the paper's figures for the same settings; None if it has none of them."""
        return _compared(self.folder, self.state)

    def query(self, columns: Sequence[str], where: str, **parameters: Any) -> pd.DataFrame:
        """Return some columns of all rows that meet a condition in SQL on `rows`, with its ``$parameters``."""
        return _query(self.folder, self.state, tuple(columns), where, parameters)

    def adversarial(self, rows: pd.DataFrame) -> dict[Key, Images]:
        """Return the stored images (C, H, W) of rows that have the columns cell, image, target and shard."""
        parts, cells, images = (tuple(sorted(set(rows[name]))) for name in ("shard", "cell", "image"))
        return _adversarial(self.folder, self.state, parts, cells, images)

    def data(self) -> datasets.DataSet | str:
        """Return the data set, or why it is not on this machine. Nothing is downloaded."""
        return _data(self.folder, self.state)


def names() -> dict[str, str]:
    """Return the folders on the command line by name: the shortest ends of their paths that differ."""
    folders = [argument for argument in dict.fromkeys(sys.argv[1:]) if argument != ALLOW_CODE]
    paths = {folder: PurePosixPath(folder.rstrip("/")).parts or (folder,) for folder in folders}
    deepest = max(map(len, paths.values()), default=1)
    for depth in range(1, deepest + 1):
        named = {"/".join(parts[-depth:]): folder for folder, parts in paths.items()}
        if len(named) == len(folders):
            return named
    return {folder: folder for folder in folders}


def allow_code() -> bool:
    """Return whether the command line allows to import the code that results name."""
    return ALLOW_CODE in sys.argv[1:]


def source(name: str) -> Source:
    """Return the folder of that name, as this session first read it."""
    sources: dict[str, Source] = st.session_state.setdefault("sources", {})
    if name not in sources:
        folder = names()[name]
        sources[name] = Source(name=name, folder=folder, state=_state(Results(located(folder))), seen=datetime.now())
    return sources[name]


def look_again() -> None:
    """Forget what this session read."""
    st.session_state.pop("sources", None)


def _state(results: Results) -> str:
    """Return a digest of a folder: its spec and victims, and the names and times of its parts."""
    results.refuse_links_out()
    digest = hashlib.sha256()
    for name in ("spec.yaml", "victims.json", "tested.json"):
        path = results.root / name
        digest.update(path.read_bytes() if path.is_file() else b"")
    for part in _parts(results):
        digest.update(part.encode())
    return digest.hexdigest()


def _parts(results: Results) -> list[str]:
    """Return the names of the parts, with their times if they are on this machine; a store's parts never change."""
    if not is_local(results.examples):
        return sorted(path.name for path in results.examples.glob("[!.]*.parquet"))
    if not results.examples.is_dir():
        return []
    with os.scandir(results.examples) as entries:
        return sorted(
            f"{entry.name} {entry.stat().st_mtime_ns}" for entry in entries if entry.name.endswith(".parquet")
        )


@st.cache_resource(max_entries=_STATES, show_spinner="Reading the results …")
def _snapshot(folder: str, state: str) -> Snapshot:
    return Snapshot(Results(located(folder)), allow_code=allow_code())


@st.cache_data(max_entries=_STATES, show_spinner="Summarising the rows …", show_time=True)
def _summary(folder: str, state: str) -> Summary:
    return summaries.read(_snapshot(folder, state))


@st.cache_resource(max_entries=_STATES, show_spinner=False)
def _intervals(folder: str, state: str) -> dict[tuple[str, str], pd.DataFrame]:
    """Return the lines whose intervals are known, by cell and victim tested on; the caller adds to them."""
    return {}


@st.cache_data(max_entries=1, show_spinner="Computing intervals …", show_time=True)
def _with_intervals(folder: str, state: str, lines: tuple[int, ...]) -> dict[tuple[str, str], pd.DataFrame]:
    snapshot = _snapshot(folder, state)
    stored, spec = snapshot.stored_rows, snapshot.spec
    batches = (stored.read(aggregate.COUNTED, batch) for batch in _batches(stored.lines["rows"].loc[list(lines)]))
    summary = aggregate.summarise_lines(
        stored.lines.loc[list(lines)], batches, seed=spec.seed, planned=planned(snapshot)
    )
    parts = summary.assign(table=spec.name).groupby(_LINE[:2])
    return {(str(cell), str(tested)): part for (cell, tested), part in parts}


def _batches(rows: pd.Series) -> list[list[int]]:
    """Split lines, given their numbers of rows, into batches that fit into memory."""
    batch = (rows.cumsum() - rows) // AT_ONCE
    return [part.index.tolist() for _, part in rows.groupby(batch)]


@st.cache_data(max_entries=_STATES, show_spinner="Reading rows …")
def _read(folder: str, state: str, columns: tuple[str, ...], line: int) -> pd.DataFrame:
    return _snapshot(folder, state).stored_rows.read(columns, [line])


@st.cache_data(max_entries=4 * _STATES, show_spinner="Reading rows …")
def _broken_within(folder: str, state: str, lines: tuple[int, ...], metric: str) -> dict[int, pd.DataFrame]:
    rows = _snapshot(folder, state).stored_rows.read(["success", metric], lines)
    parts = ((line, rows[rows["line"] == line]) for line in lines)
    return {line: curve_points.broken_within(part["success"], part[metric]) for line, part in parts}


@st.cache_data(max_entries=4 * _STATES, show_spinner="Reading rows …")
def _costs(folder: str, state: str, lines: tuple[int, ...]) -> "pd.Series[float]":
    return curve_points.costs(_snapshot(folder, state).stored_rows.read(["iterations"], lines), lines)


@st.cache_data(max_entries=_STATES, show_spinner=False)
def _compared(folder: str, state: str) -> pd.DataFrame | None:
    summary = _summary(folder, state)
    if not summary.spec.targeted or summary.lines.empty:
        return None
    compared = comparison.compare(summary.lines, summary.victims)
    return None if compared.empty else compared


@st.cache_resource(max_entries=_STATES, show_spinner=False)
def _files(folder: str, state: str) -> Files:
    return Files(sorted(Results(located(folder)).examples.glob("[!.]*.parquet")), SCHEMA, WHAT)


@st.cache_data(max_entries=4 * _STATES, show_spinner="Reading the example …")
def _query(folder: str, state: str, columns: tuple[str, ...], where: str, parameters: dict[str, Any]) -> pd.DataFrame:
    query = f"SELECT {', '.join(columns)} FROM {FILES} WHERE {where} ORDER BY file_index, file_row_number"
    return frame_of(_files(folder, state).ask(query, parameters))


@st.cache_data(max_entries=4 * _STATES, show_spinner="Reading images …")
def _adversarial(
    folder: str, state: str, shards: tuple[str, ...], cells: tuple[str, ...], images: tuple[int, ...]
) -> dict[Key, Images]:
    results = Results(located(folder))
    keys, pixels = read_images([results.image_part(shard) for shard in shards], cells=cells, images=images)
    return dict(zip(keys_of(keys), pixels, strict=True))


@st.cache_resource(max_entries=_STATES, show_spinner="Loading the data set …")
def _data(folder: str, state: str) -> datasets.DataSet | str:
    return _snapshot(folder, state).data()
