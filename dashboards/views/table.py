"""The best/average/worst table."""

from functools import partial

import pandas as pd
import streamlit as st

from eadbench.dashboards import choices
from eadbench.dashboards.lines import described
from eadbench.dashboards.sources import Source
from eadbench.dashboards.table import MOST, paper_figures, table_html
from eadbench.dashboards.views.parts import rows_or_stop
from eadbench.harness.analysis.aggregate import CASES, GROUPS
from eadbench.harness.reporting import report, tables

_FILES = {"CSV": ("csv", "text/csv"), "Markdown": ("md", "text/markdown"), "LaTeX": ("tex", "application/x-tex")}
_CALLED = {"all_targets": "all targets"}


def show(source: Source) -> None:
    """The page."""
    st.title("Table")
    found = rows_or_stop(source)
    texts = described(found.summary, found.victims)
    taken = choices.filtered(texts)
    compared = source.compared()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        groups = choices.few("Cases", GROUPS, key="case", default=CASES, called=_CALLED)
        intervals = choices.switch("95 % intervals", key="intervals", help="Bootstrap over images, of 1,000 resamples.")
        paper = compared is not None and choices.switch("The paper's figures", key="paper", value=True)
    lines = found.summary[taken]
    if lines.empty or not groups:
        st.info("No line is left; choose a case, and fewer or other filters.")
        return
    count = len(lines) // len(CASES)
    first = lines.iloc[: MOST * len(CASES)]
    if intervals:
        first = source.with_intervals(first)
    st.html(
        table_html(
            first,
            texts.loc[first.index],
            found.victims,
            groups=groups,
            intervals=intervals,
            paper=paper_figures(compared) if paper else None,
        )
    )
    shown = f"{count:,} line{'' if count == 1 else 's'}" if count <= MOST else f"The first {MOST} of {count:,} lines"
    brackets = " In brackets: what the paper found for this setting." if paper else ""
    st.caption(
        f"{shown}. ASR in percent; distortions are means over successes. Underlined in bold: the least distortion "
        f"among the lines of the highest ASR on a victim.{brackets} {report.images_text(found.spec)}"
    )
    _downloads(source, lines)


def _downloads(source: Source, lines: pd.DataFrame) -> None:
    """Lines of the summary, with all their cases, as files, made when they are asked for."""

    def text(format: str) -> str:
        return tables.render(source.with_intervals(lines), format, source.found().victims)

    with st.container(horizontal=True, vertical_alignment="center"):
        for name, (ending, kind) in _FILES.items():
            st.download_button(
                name,
                partial(text, name.lower()),
                file_name=f"{source.name.replace('/', '-')}.{ending}",
                mime=kind,
                on_click="ignore",
                help="All cases of the lines above, with intervals."
                if name == "CSV"
                else "All cases of the lines above.",
            )
