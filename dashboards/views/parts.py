"""Parts that pages share."""

import streamlit as st

from eadbench.dashboards.sources import Source
from eadbench.harness.analysis.summary import Summary


def rows_or_stop(source: Source) -> Summary:
    """Return the summary of the rows; without rows, say why and end the page."""
    summary = source.summary()
    if not summary.lines.empty:
        return summary
    results = source.results
    if not summary.victims:
        st.info(
            f"{source.folder} has no rows yet: its victims are not ready. The page Sweep shows how far `eadbench run` "
            "is; run it again if it has ended."
        )
    elif results.failed():
        st.warning(
            f"{source.folder} has no rows: its shards failed. The page Sweep has their errors. Remove the cause and "
            "run the sweep again, which tries failed shards again."
        )
    else:
        st.info(f"{source.folder} has no rows that answer its spec yet; run `eadbench run` with that spec.")
    return st.stop()
