"""The best/average/worst table."""

from functools import partial

import pandas as pd
import streamlit as st

from eadbench.dashboards import choices
from eadbench.dashboards.figures_table import LINE_LIMIT, published_figures, table_html
from eadbench.dashboards.heat_map import overview_html
from eadbench.dashboards.lines import described
from eadbench.dashboards.rendering import as_text
from eadbench.dashboards.sources import Source
from eadbench.dashboards.views.parts import rows_or_stop
from eadbench.harness.analysis.aggregate import CASES, GROUPS, after_rounding
from eadbench.harness.numbers import counted
from eadbench.harness.reporting import report, tables
from eadbench.harness.reporting.tables.pages import group_heads

_FORMATS = {"CSV": ("csv", "text/csv"), "Markdown": ("md", "text/markdown"), "LaTeX": ("tex", "application/x-tex")}
"""File ending and media type of each download."""
_GROUP_LABELS = {"all_targets": "all targets"}


def show(source: Source) -> None:
    """Show the page."""
    st.title("Table")
    summary = rows_or_stop(source)
    if (study := overview_html(summary)) is not None:
        with st.expander("Overview", expanded=True):
            st.html(study)
    texts = described(summary, summary.lines)
    chosen = choices.filters(texts)
    compared = source.compared()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        groups = list(group_heads(summary.lines))
        if len(groups) > 1:
            groups = choices.select_several("Cases", GROUPS, key="case", default=CASES, labels=_GROUP_LABELS)
        intervals = choices.toggle("95 % intervals", key="intervals", help="With images as clusters.")
        rounded = choices.toggle(
            "After rounding", key="rounded", value=summary.quantised, help="Figures of images rounded to 8 bits."
        )
        paper = compared is not None and choices.toggle("The paper's figures", key="paper", value=not rounded)
    lines = summary.lines[chosen]
    if lines.empty or not groups:
        st.info("No line is left; choose a case, and fewer or other filters.")
        return
    first = lines.iloc[: LINE_LIMIT * len(CASES)]
    if intervals:
        first = source.with_intervals(first)
    if rounded:
        first = after_rounding(first)
    st.html(
        table_html(
            summary,
            first,
            texts.loc[first.index],
            groups=groups,
            intervals=intervals,
            paper=published_figures(compared) if paper else None,
        )
    )
    rounding = " Figures are of the images rounded to 8 bits, as files keep them." if rounded else ""
    brackets = " In brackets: the paper's figures for this setting." if paper else ""
    st.caption(
        f"{_lines_text(len(lines) // len(CASES))}. ASR in percent; distortions are means over successes. Underlined in "
        f"bold: the least distortion among the lines of the highest ASR on a victim.{brackets}{rounding} "
        f"{report.images_text(summary.spec)}"
    )
    for warning in report.warnings(summary):
        st.warning(as_text(warning))
    _downloads(source, lines)


def _lines_text(count: int) -> str:
    if count > LINE_LIMIT:
        return f"The first {LINE_LIMIT} of {count:,} lines"
    return counted(count, "line")


def _downloads(source: Source, lines: pd.DataFrame) -> None:
    """Offer lines of the summary, with all their cases, as files; a file is made when its button is pressed."""

    def text(format: str) -> str:
        return tables.render(source.with_intervals(lines), format, source.summary().victims)

    with st.container(horizontal=True, vertical_alignment="center"):
        for name, (ending, media_type) in _FORMATS.items():
            intervals = ", with intervals" if name == "CSV" else ""
            st.download_button(
                name,
                partial(text, name.lower()),
                file_name=f"{source.name.replace('/', '-')}.{ending}",
                mime=media_type,
                on_click="ignore",
                help=f"All cases of the lines above{intervals}.",
            )
