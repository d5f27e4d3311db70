"""Means over training seeds: a table for each group of victims that differ in their seed alone."""

from eadbench.dashboards.page.section import Section
from eadbench.dashboards.rendering import render
from eadbench.harness.analysis.seeds import MEANING
from eadbench.harness.analysis.summary import Summary
from eadbench.harness.reporting.tables.seeds import seed_pages

__all__ = ["section"]


def section(summary: Summary) -> Section | None:
    """Return the tables over seeds; None without victims that differ in their seed alone."""
    pages = list(seed_pages(summary.lines, summary.victims))
    if not pages:
        return None
    return Section(
        anchor="seeds", title="Over training seeds", body=render("seeds.html.j2", pages=pages, meaning=MEANING)
    )
