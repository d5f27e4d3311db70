"""The overview of a study of several victims."""

from eadbench.dashboards.heat_map import overview_html
from eadbench.dashboards.page.section import Section
from eadbench.harness.analysis.summary import Summary

__all__ = ["section"]


def section(summary: Summary) -> Section | None:
    """Return how each attack does on each victim; None if the sweep attacks one victim only."""
    body = overview_html(summary)
    return None if body is None else Section(anchor="overview", title="Overview", body=body)
