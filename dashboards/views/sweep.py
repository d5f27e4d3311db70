"""The progress of a sweep, read again every few seconds."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import streamlit as st

from eadbench.dashboards import charts
from eadbench.dashboards.rendering import as_text
from eadbench.dashboards.sources import Source
from eadbench.harness.errors import EadbenchError
from eadbench.harness.labels import defense_label
from eadbench.harness.numbers import counted
from eadbench.harness.results.folder import Results
from eadbench.harness.results.status import Progress, Watched, ago, by_worker, cumulative, models_made, rate
from eadbench.harness.storage import located

_INTERVAL = timedelta(seconds=5)
_PATIENCE = 60
"""Seconds without a finished shard, beyond the time of three shards, after which a sweep counts as stopped."""
_FAILURE_LIMIT = 20
"""Failures that are shown."""


def show(source: Source) -> None:
    """Show the page."""
    st.title("Sweep")
    _watch(source.folder)


@st.fragment(run_every=_INTERVAL)
def _watch(folder: str) -> None:
    """Show the parts that are read again; an error in one does not hide the other."""
    for part in (_progress, _failures):
        try:
            part(folder)
        except EadbenchError as error:
            st.error(str(error))
    st.caption(f"{as_text(str(folder))}, as of {datetime.now():%H:%M:%S}")


def _progress(folder: str) -> None:
    progress = _watched(folder).progress()
    if progress is None:
        _victims(Results(located(folder)))
    else:
        _figures(progress)


@st.cache_resource(max_entries=8, show_spinner=False)
def _watched(folder: str) -> Watched:
    return Watched(Results(located(folder)))


def _victims(results: Results) -> None:
    """Show the victims that are ready, before all are."""
    st.info(f"The victims of {results.spec().name} are not ready; its attacks begin when they are.")
    victims = []
    for digest, recipe in models_made(results).items():
        parameters = {name: value for name, value in recipe.defense.items() if name != "name"}
        defense = defense_label(recipe.defense["name"], parameters)
        victims.append({"model": digest, "architecture": recipe.arch, "defence": defense})
    if victims:
        st.subheader("Models that are ready")
        st.dataframe(victims, hide_index=True, width="content")


def _figures(progress: Progress) -> None:
    """Show how much is done, how fast, and by which workers."""
    records = progress.records
    share = progress.rows_done / progress.rows
    st.progress(
        share, text=f"{progress.rows_done:,} of {progress.rows:,} rows ({100 * share:.0f} %). {_state(progress)}"
    )
    with st.container(horizontal=True):
        st.metric("Cells done", f"{progress.cells_done:,} of {progress.cells:,}", width="content", border=True)
        st.metric("Shards done", f"{len(records):,} of {progress.shards:,}", width="content", border=True)
        st.metric("Workers", f"{records['worker'].nunique():,}", width="content", border=True)
        st.metric("Examples a minute", f"{60 * rate(records):,.0f}", width="content", border=True)
        if progress.transfer_rows:
            done = f"{progress.transfer_rows_done:,} of {progress.transfer_rows:,}"
            st.metric("Rows on other victims", done, width="content", border=True)
    if len(records):
        st.subheader("Examples done")
        st.altair_chart(charts.over_time(cumulative(records)), alt="examples done over time")
        st.subheader("Workers")
        _workers(records)


def _workers(records: pd.DataFrame) -> None:
    """Show a line for each worker."""
    workers = by_worker(records)
    st.dataframe(
        workers.assign(
            gradients_per_second=workers["gradients_per_second"].round(),
            last=[f"{moment.to_pydatetime().astimezone():%H:%M:%S}, {ago(moment)}" for moment in workers["last"]],
        ),
        hide_index=True,
        column_order=["worker", "node", "device", "shards", "examples", "gradients_per_second", "last"],
        column_config={
            "gradients_per_second": st.column_config.NumberColumn("gradient evaluations a second", format="localized"),
            "examples": st.column_config.NumberColumn("examples", format="localized"),
            "last": "last shard ended",
        },
    )


def _state(progress: Progress) -> str:
    """Say whether the sweep runs, and how long it still takes."""
    records = progress.records
    if progress.complete:
        return "Complete."
    if records.empty:
        return "No shard is done yet."
    last = records["ended"].max().to_pydatetime()
    quiet = (datetime.now(UTC) - last).total_seconds()
    if quiet > 3 * records["seconds"].max() + _PATIENCE:
        return (
            f"The last shard ended {ago(last)}: the sweep has ended or stalled. Run it again; it continues from here."
        )
    rows_per_example = progress.rows_done / max(1, records["examples"].sum())
    speed = rate(records) * rows_per_example
    remaining = f", about {_duration((progress.rows - progress.rows_done) / speed)} left" if speed > 0 else ""
    return f"Running: a shard ended {ago(last)}{remaining}."


def _duration(seconds: float) -> str:
    """Return a duration: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _failures(folder: str) -> None:
    """Show the last failures with their errors."""
    results = Results(located(folder))
    try:
        failures = results.failure_records()
    except FileNotFoundError:  # a task succeeded while its record was read; the next look is in seconds
        return
    if not failures:
        return
    st.subheader(counted(len(failures), "failure"))
    st.caption("Failed tasks are tried again when the sweep is run again.")
    for failure in failures[:_FAILURE_LIMIT]:
        with st.expander(as_text(f"{failure.task}: {failure.reason}")):
            st.caption(as_text(f"{failure.ended}, on {', '.join(failure.workers)}"))
            st.code(failure.error, language=None, wrap_lines=True)
    if len(failures) > _FAILURE_LIMIT:
        st.caption(f"The last {_FAILURE_LIMIT} are shown; {results.failures} has all.")
