"""Whether the numbers can be trusted: the indicators that are raised, each with its figure, cause and remedy."""

from eadbench.dashboards.page.section import Section
from eadbench.dashboards.rendering import render
from eadbench.harness.analysis import trust
from eadbench.harness.analysis.indicators import INDICATORS
from eadbench.harness.analysis.summary import Summary

__all__ = ["section"]

_LIMIT = 200
"""Lines that are shown."""
_HEADS = ("victim", "attack", "indicator", "figure", "threshold", "cause", "remedy")


def section(summary: Summary) -> Section | None:
    """Return a line for each cell and indicator that is raised; None before there are rows."""
    if not summary.findings:
        return None
    table = trust.table(summary.findings, summary.own, summary.labels)
    raised = table[table["raised"]]
    rows = [
        [
            *(line["victim"], line["label"], line["title"]),
            *(f"{100 * line['value']:.3g} %", f"{100 * line['threshold']:.3g} %"),
            *(line["cause"], line["remedy"]),
        ]
        for line in raised.head(_LIMIT).to_dict("records")
    ]
    body = render(
        "trust.html.j2", heads=_HEADS, rows=rows, total=len(raised), cells=len(summary.findings), known=len(INDICATORS)
    )
    return Section(anchor="trust", title="Trust", body=body)
