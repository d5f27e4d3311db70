"""The results that the explorer was given, and what is read of them, once for each state that they are in."""

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

from eadbench.dashboards import curves
from eadbench.harness import datasets
from eadbench.harness.analysis import aggregate
from eadbench.harness.paper import comparison
from eadbench.harness.parquet.adversarial import Images, read_images
from eadbench.harness.parquet.query import FILES, Files
from eadbench.harness.parquet.rows import SCHEMA, WHAT, Key, frame_of, keys_of
from eadbench.harness.parquet.stored import StoredRows
from eadbench.harness.reporting import report
from eadbench.harness.results.folder import Results
from eadbench.harness.storage import is_local, located

_LINE = ["cell", "evaluated_on", "case"]
"""What names a line of the summary."""
_FEW = 8
"""How many states of folders are held at a time."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The results in a folder, as they were when this session first looked."""

    name: str
    folder: str
    state: str
    """Another whenever the spec, the victims or the parts are others."""
    seen: datetime

    @property
    def results(self) -> Results:
        """The folder."""
        return Results(located(self.folder))

    def found(self) -> report.Found:
        """The summary of the rows, without intervals, which would take most of the time."""
        return _found(self.folder, self.state)

    def with_intervals(self, lines: pd.DataFrame) -> pd.DataFrame:
        """Lines of that summary, with their intervals, which are drawn once for each."""
        wanted, drawn = lines.drop_duplicates(_LINE[:2]), _intervals(self.folder, self.state)
        names = list(zip(wanted["cell"], wanted["evaluated_on"], strict=True))
        missing = wanted[[name not in drawn for name in names]]
        if len(missing):
            drawn |= _with_intervals(self.folder, self.state, tuple(self.numbers(missing).tolist()))
        known = pd.concat([drawn[name] for name in names]).set_index(_LINE)
        return known.loc[pd.MultiIndex.from_frame(lines[_LINE])].reset_index().set_index(lines.index)[lines.columns]

    def numbers(self, lines: pd.DataFrame) -> pd.Series:
        """The numbers by which :meth:`read` knows lines of the summary."""
        stored = self.stored().lines
        numbers = pd.Series(stored.index, index=pd.MultiIndex.from_frame(stored[_LINE[:2]]))
        return pd.Series(numbers.loc[pd.MultiIndex.from_frame(lines[_LINE[:2]])].to_numpy(), index=lines.index)

    def stored(self) -> StoredRows:
        """The rows that answer the spec."""
        return _stored(self.folder, self.state)

    def read(self, columns: Sequence[str], line: int) -> pd.DataFrame:
        """Some columns of the rows of a line."""
        return _read(self.folder, self.state, tuple(columns), line)

    def broken_within(self, lines: Sequence[int], metric: str) -> dict[int, pd.DataFrame]:
        """By line, the share of its examples that is broken within a distortion, as `dashboards.curves` has it."""
        return _broken_within(self.folder, self.state, tuple(lines), metric)

    def costs(self, lines: Sequence[int]) -> "pd.Series[float]":
        """By line, the mean of the gradient evaluations that an example took."""
        return _costs(self.folder, self.state, tuple(lines))

    def compared(self) -> pd.DataFrame | None:
        """The paper's figures where they are of the same settings; None where it has none of them."""
        return _compared(self.folder, self.state)

    def ask(self, columns: Sequence[str], where: str, **given: Any) -> pd.DataFrame:
        """Some columns of all rows that are as a condition of SQL on `rows` says, with its ``$parameters``."""
        return _ask(self.folder, self.state, tuple(columns), where, given)

    def adversarial(self, rows: pd.DataFrame) -> dict[Key, Images]:
        """The stored images (C, H, W) of rows, by their columns cell, image, target and shard."""
        parts, cells, images = (tuple(sorted(set(rows[name]))) for name in ("shard", "cell", "image"))
        return _adversarial(self.folder, self.state, parts, cells, images)

    def data(self) -> datasets.DataSet | str:
        """The data set, or why it is not here. Nothing is fetched."""
        return _data(self.found().spec.dataset)


def names() -> dict[str, str]:
    """The folders that the command was given, by name: the last parts of their paths that tell them apart."""
    folders = list(dict.fromkeys(sys.argv[1:]))
    paths = {folder: PurePosixPath(folder.rstrip("/")).parts or (folder,) for folder in folders}
    deepest = max(map(len, paths.values()), default=1)
    for depth in range(1, deepest + 1):
        found = {"/".join(parts[-depth:]): folder for folder, parts in paths.items()}
        if len(found) == len(folders):
            return found
    return {folder: folder for folder in folders}


def source(name: str) -> Source:
    """The folder of that name, as this session first saw it."""
    held: dict[str, Source] = st.session_state.setdefault("sources", {})
    if name not in held:
        folder = names()[name]
        held[name] = Source(name=name, folder=folder, state=_state(Results(located(folder))), seen=datetime.now())
    return held[name]


def look_again() -> None:
    """Forget what this session saw."""
    st.session_state.pop("sources", None)


def _state(results: Results) -> str:
    """A digest of what is in a folder: its spec and victims, and the names and times of its parts."""
    digest = hashlib.sha256()
    for name in ("spec.yaml", "victims.json", "tested.json"):
        path = results.root / name
        digest.update(path.read_bytes() if path.is_file() else b"")
    for part in _parts(results):
        digest.update(part.encode())
    return digest.hexdigest()


def _parts(results: Results) -> list[str]:
    """The names of the parts, with the times of those on this machine: a part of a store is never written anew."""
    if not is_local(results.examples):
        return sorted(path.name for path in results.examples.glob("[!.]*.parquet"))
    if not results.examples.is_dir():
        return []
    with os.scandir(results.examples) as entries:
        return sorted(
            f"{entry.name} {entry.stat().st_mtime_ns}" for entry in entries if entry.name.endswith(".parquet")
        )


@st.cache_resource(max_entries=_FEW, show_spinner="Looking through the rows …")
def _stored(folder: str, state: str) -> StoredRows:
    return Results(located(folder)).stored()


@st.cache_data(max_entries=_FEW, show_spinner="Summarising the rows …", show_time=True)
def _found(folder: str, state: str) -> report.Found:
    results, stored = Results(located(folder)), _stored(folder, state)
    spec = results.spec()
    batches = stored.batches(aggregate.COUNTED, at_most=report.AT_ONCE)
    summary = aggregate.summarise_lines(stored.lines, batches, seed=spec.seed, resamples=0)
    return report.Found(spec=spec, victims=results.victims()[1], summary=summary.assign(table=spec.name))


@st.cache_resource(max_entries=_FEW, show_spinner=False)
def _intervals(folder: str, state: str) -> dict[tuple[str, str], pd.DataFrame]:
    """What has been drawn: the summary's lines of a cell and the victim that it was tested on."""
    return {}


@st.cache_data(max_entries=1, show_spinner="Drawing bootstrap samples …", show_time=True)
def _with_intervals(folder: str, state: str, lines: tuple[int, ...]) -> dict[tuple[str, str], pd.DataFrame]:
    stored, spec = _stored(folder, state), Results(located(folder)).spec()
    batches = (stored.read(aggregate.COUNTED, batch) for batch in _batches(stored.lines["rows"].loc[list(lines)]))
    summary = aggregate.summarise_lines(stored.lines.loc[list(lines)], batches, seed=spec.seed)
    return {(str(cell), str(on)): part for (cell, on), part in summary.assign(table=spec.name).groupby(_LINE[:2])}


def _batches(rows: pd.Series) -> list[list[int]]:
    """Lines, by their number of rows, in batches that can be held at once."""
    batch = (rows.cumsum() - rows) // report.AT_ONCE
    return [part.index.tolist() for _, part in rows.groupby(batch)]


@st.cache_data(max_entries=_FEW, show_spinner="Reading rows …")
def _read(folder: str, state: str, columns: tuple[str, ...], line: int) -> pd.DataFrame:
    return _stored(folder, state).read(columns, [line])


@st.cache_data(max_entries=4 * _FEW, show_spinner="Reading rows …")
def _broken_within(folder: str, state: str, lines: tuple[int, ...], metric: str) -> dict[int, pd.DataFrame]:
    rows = _stored(folder, state).read(["success", metric], lines)
    parts = ((line, rows[rows["line"] == line]) for line in lines)
    return {line: curves.broken_within(part["success"], part[metric]) for line, part in parts}


@st.cache_data(max_entries=4 * _FEW, show_spinner="Reading rows …")
def _costs(folder: str, state: str, lines: tuple[int, ...]) -> "pd.Series[float]":
    return curves.costs(_stored(folder, state).read(["iterations"], lines), lines)


@st.cache_data(max_entries=_FEW, show_spinner=False)
def _compared(folder: str, state: str) -> pd.DataFrame | None:
    found = _found(folder, state)
    if not found.spec.targeted or found.summary.empty:
        return None
    compared = comparison.compare(found.summary, found.victims)
    return None if compared.empty else compared


@st.cache_resource(max_entries=_FEW, show_spinner=False)
def _files(folder: str, state: str) -> Files:
    return Files(sorted(Results(located(folder)).examples.glob("[!.]*.parquet")), SCHEMA, WHAT)


@st.cache_data(max_entries=4 * _FEW, show_spinner="Looking for the example …")
def _ask(folder: str, state: str, columns: tuple[str, ...], where: str, given: dict[str, Any]) -> pd.DataFrame:
    query = f"SELECT {', '.join(columns)} FROM {FILES} WHERE {where} ORDER BY file_index, file_row_number"
    return frame_of(_files(folder, state).ask(query, given))


@st.cache_data(max_entries=4 * _FEW, show_spinner="Reading images …")
def _adversarial(
    folder: str, state: str, shards: tuple[str, ...], cells: tuple[str, ...], images: tuple[int, ...]
) -> dict[Key, Images]:
    results = Results(located(folder))
    keys, pixels = read_images([results.image_part(shard) for shard in shards], cells=cells, images=images)
    return dict(zip(keys_of(keys), pixels, strict=True))


@st.cache_resource(max_entries=_FEW, show_spinner="Loading the data set …")
def _data(entry: dict[str, Any]) -> datasets.DataSet | str:
    return datasets.at_hand(entry)
