"""Robust accuracy at a fixed ε, over all images and over correctly classified ones."""

from eadbench.dashboards.page.section import Section
from eadbench.dashboards.rendering import render
from eadbench.harness.analysis.summary import Summary
from eadbench.harness.reporting import robust

__all__ = ["section"]


def section(summary: Summary) -> Section | None:
    """Return a table for each norm and ε; None without attacks at a fixed ε."""
    if not summary.robust:
        return None
    tables = [{"title": each.title, "rows": robust.texts(each), "notes": robust.notes(each)} for each in summary.robust]
    body = render("robust.html.j2", heads=robust.HEADS, tables=tables, meaning=robust.MEANING)
    return Section(anchor="robust", title="Robust accuracy", body=body)
