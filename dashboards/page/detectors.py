"""What detectors reject, and their ROC curves."""

from eadbench.dashboards.page.curves import figure_html
from eadbench.dashboards.page.section import Section, fitting
from eadbench.dashboards.rendering import render
from eadbench.harness.analysis.summary import Summary
from eadbench.harness.reporting.figures import draw_roc
from eadbench.harness.reporting.tables import detections

__all__ = ["section"]

_LIMIT = 400
"""Lines that are shown."""
_CURVES = 500_000
"""Bytes of curves at most."""


def section(summary: Summary) -> Section | None:
    """Return the table of detectors and their curves; None without detectors."""
    heads, rows = detections.detections_texts(summary)
    if not rows:
        return None
    figures = ((name, figure_html([figure], f"r{i}")) for i, (name, figure) in enumerate(draw_roc(summary).items()))
    body = render(
        "detectors.html.j2",
        heads=heads,
        rows=rows[:_LIMIT],
        total=len(rows),
        numbers=detections.NUMBERS,
        meaning=detections.MEANING,
        figures=[html for _, html in fitting(figures, _CURVES)],
    )
    return Section(anchor="detectors", title="Detectors", body=body)
