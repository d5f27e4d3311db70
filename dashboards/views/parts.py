"""What pages share."""

import streamlit as st

from eadbench.dashboards.sources import Source
from eadbench.harness.reporting.report import Found


def rows_or_stop(source: Source) -> Found:
    """The summary of the rows; where there are none, the page says why, and ends."""
    found = source.found()
    if not found.summary.empty:
        return found
    results = source.results
    if not found.victims:
        st.info(
            f"{source.folder} has no rows yet: its victims are not ready. Look at the page Sweep while `eadbench run` "
            "makes them, or run it again if it has ended."
        )
    elif results.failed():
        st.warning(
            f"{source.folder} has no rows: its shards failed. The page Sweep has their errors; run the sweep again "
            "when the cause is gone, and what failed is tried again."
        )
    else:
        st.info(f"{source.folder} has no rows that answer its spec yet; run `eadbench run` with that spec.")
    return st.stop()
