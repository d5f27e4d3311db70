"""The transfer matrix: how often examples crafted on one victim fool another."""

import pandas as pd
import streamlit as st

from eadbench.dashboards import choices
from eadbench.dashboards.lines import described
from eadbench.dashboards.sources import Source
from eadbench.dashboards.transfer_matrix import matrix_html
from eadbench.dashboards.views.parts import rows_or_stop
from eadbench.harness.analysis import transfer
from eadbench.harness.labels import Labels
from eadbench.harness.numbers import parameter_text

_COLUMNS = 2
"""Matrices side by side."""


def show(source: Source) -> None:
    """Show the page."""
    st.title("Transfer")
    summary = rows_or_stop(source)
    matrix = transfer.matrix(summary.lines, summary.victims)
    if matrix is None:
        st.info(
            "No example was tested on another victim. Give a victim of the spec `evaluated_on: all` and run it again, "
            f"or test the stored images: `eadbench transfer {source.folder} --to SPEC`."
        )
        return
    texts = described(summary, summary.lines)
    lines = summary.lines.assign(label=texts["series"])
    crafted = lines[lines["model"].isin(matrix["model"]) & (lines["case"] == "best")]  # each case has all targets' ASR
    with st.container(horizontal=True):
        label = choices.select("Attack", list(dict.fromkeys(crafted["label"])), key="attack")
        crafted = _at_one_beta(crafted[crafted["label"] == label])
    _matrices(label, crafted, summary.labels)
    st.caption(transfer.meaning(summary.spec))
    pairs = transfer.pair_texts(summary.lines, summary.victims, summary.labels)
    st.dataframe(pd.DataFrame(pairs, columns=[*transfer.PAIR_HEADS]), hide_index=True, width="content")
    st.download_button(
        "CSV",
        transfer.csv(summary.lines, summary.victims, summary.labels),
        file_name=f"{source.name.replace('/', '-')}-transfer.csv",
        mime="text/csv",
        on_click="ignore",
        help="The matrix of every attack, β and κ.",
    )


def _at_one_beta(lines: pd.DataFrame) -> pd.DataFrame:
    """Return the lines of the chosen β, or all lines of an attack without β."""
    betas = {parameter_text(value): value for value in sorted(lines["beta"].dropna().unique().tolist())}
    if not betas:
        return lines
    default = parameter_text(lines["beta"].mode().iloc[0])
    chosen: pd.DataFrame = lines[lines["beta"] == betas[choices.select("β", list(betas), key="beta", default=default)]]
    return chosen


def _matrices(label: str, lines: pd.DataFrame, labels: Labels) -> None:
    """Show a matrix for each κ."""
    kappas = sorted(lines["kappa"].unique().tolist())
    columns = min(_COLUMNS, len(kappas))
    for start in range(0, len(kappas), columns):
        for column, kappa in zip(st.columns(columns), kappas[start : start + columns], strict=False):
            with column:
                heading = f"κ = {parameter_text(kappa)}"
                st.subheader(heading)
                _matrix(f"{label}, {heading}: ASR in percent", lines[lines["kappa"] == kappa], labels)


def _matrix(aria_label: str, lines: pd.DataFrame, labels: Labels) -> None:
    sources, targets = set(lines["model"]), set(lines["evaluated_on"])
    order = [digest for digest in labels.victim if digest in sources | targets]
    order += [digest for digest in dict.fromkeys(lines["evaluated_on"]) if digest not in order]
    names = labels.short_victims(order)
    rates = {
        (model, tested): (rate, on_all_images)
        for model, tested, rate, on_all_images in lines[
            ["model", "evaluated_on", "all_targets_asr", "all_images_asr"]
        ].itertuples(index=False)
    }
    html = matrix_html(
        rates,
        {digest: name for digest, name in names.items() if digest in sources},
        {digest: name for digest, name in names.items() if digest in targets},
        aria_label=aria_label,
    )
    st.html(html)
