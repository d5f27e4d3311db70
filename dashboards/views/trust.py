"""Whether the numbers can be trusted: the indicators of each cell, with figure, cause and remedy."""

import streamlit as st

from eadbench.dashboards import choices
from eadbench.dashboards.rendering import as_text
from eadbench.dashboards.sources import Source
from eadbench.dashboards.views.parts import rows_or_stop
from eadbench.harness.analysis import trust
from eadbench.harness.results.lock import LOCK, read_lock

_COLUMNS = {
    "victim": "victim",
    "label": "attack",
    "title": "indicator",
    "value": "figure",
    "threshold": "threshold",
    "raised": "raised",
    "figure": "what the figure is",
}


def show(source: Source) -> None:
    """Show the page."""
    st.title("Trust")
    summary = rows_or_stop(source)
    table = trust.table(summary.findings, summary.own, summary.labels)
    cells = table.loc[table["raised"], "cell"].nunique()
    if cells:
        st.warning(f"Indicators are raised on {cells:,} of {len(summary.findings):,} cells.")
    else:
        st.success(f"No indicator is raised on any of {len(summary.findings):,} cells.")
    for sentence in trust.sentences(summary.findings, summary.own, summary.labels, said=True):
        st.markdown(f"- {as_text(sentence)}.")
    every = choices.toggle("Every figure", key="figures", help="Also of indicators that are not raised.")
    shown = table if every else table[table["raised"]]
    if len(shown):
        percent = st.column_config.NumberColumn(format="percent")
        st.dataframe(
            shown[[*_COLUMNS]].rename(columns=_COLUMNS),
            hide_index=True,
            column_config={"figure": percent, "threshold": percent},
        )
        st.caption("An indicator is raised beyond its threshold, unless another one explains it.")
    st.download_button(
        "CSV",
        table.to_csv(index=False),
        file_name=f"{source.name.replace('/', '-')}-trust.csv",
        mime="text/csv",
        on_click="ignore",
        help="Every cell and indicator, with causes and remedies.",
    )
    _root(source)


def _root(source: Source) -> None:
    """Show the Merkle root of the rows, if the sweep has ended."""
    path = source.results.root / LOCK
    if path.is_file():
        lock = read_lock(path)
        st.header("Attested results")
        st.markdown(f"{lock.rows:,} rows have the root `{as_text(lock.root)}`; `eadbench verify` checks it.")
