"""How often examples crafted on one victim fool another."""

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from eadbench.dashboards import choices
from eadbench.dashboards.lines import described
from eadbench.dashboards.matrix import matrix_html
from eadbench.dashboards.sources import Source
from eadbench.dashboards.views.parts import rows_or_stop
from eadbench.harness.analysis import transfer as transfer_matrix
from eadbench.harness.labels import parameter_text, told_apart, victim_names

_ABREAST = 2


def show(source: Source) -> None:
    """The page."""
    st.title("Transfer")
    found = rows_or_stop(source)
    matrix = transfer_matrix.matrix(found.summary, found.victims)
    if matrix is None:
        st.info(
            "No example was tested on another victim. Give a victim of the spec `evaluated_on: all` and run it again, "
            f"or test what is stored: `eadbench transfer {source.folder} --to SPEC`."
        )
        return
    texts = described(found.summary, found.victims)
    lines = found.summary.assign(series=texts["series"])
    crafted = lines[lines["model"].isin(matrix["model"]) & (lines["case"] == "best")]  # all targets' ASR is in any case
    with st.container(horizontal=True):
        series = choices.one("Attack", list(dict.fromkeys(crafted["series"])), key="attack")
        crafted = _of_beta(crafted[crafted["series"] == series])
    _matrices(series, crafted, victim_names(found.victims))
    st.caption(
        "ASR over every target class, in percent; framed where examples are on the victim that they were crafted on. "
        "There an example succeeds if it reaches the margin κ; on another victim, if that gives it the target class, "
        "by whatever margin. An attack that fails on its own victim has no example to transfer: a failure."
    )
    st.download_button(
        "CSV",
        str(matrix.to_csv(index=False, lineterminator="\n")),
        file_name=f"{source.name.replace('/', '-')}-transfer.csv",
        mime="text/csv",
        on_click="ignore",
        help="The matrix of every attack, β and κ.",
    )


def _of_beta(lines: pd.DataFrame) -> pd.DataFrame:
    """The lines of one β, if they have any."""
    betas = sorted(lines["beta"].dropna().unique().tolist())
    if not betas:
        return lines
    most = parameter_text(lines["beta"].mode().iloc[0])
    beta = {parameter_text(value): value for value in betas}
    chosen: pd.DataFrame = lines[lines["beta"] == beta[choices.one("β", list(beta), key="beta", default=most)]]
    return chosen


def _matrices(series: str, lines: pd.DataFrame, names: Mapping[str, str]) -> None:
    """A matrix for each κ, some of them side by side."""
    kappas = sorted(lines["kappa"].unique().tolist())
    abreast = min(_ABREAST, len(kappas))
    for start in range(0, len(kappas), abreast):
        for column, kappa in zip(st.columns(abreast), kappas[start : start + abreast], strict=False):
            with column:
                said = f"κ = {parameter_text(kappa)}"
                st.subheader(said)
                _matrix(f"{series}, {said}: ASR in percent", lines[lines["kappa"] == kappa], names)


def _matrix(said: str, lines: pd.DataFrame, names: Mapping[str, str]) -> None:
    shown = [digest for digest in names if digest in {*lines["model"], *lines["evaluated_on"]}]
    short = dict(zip(shown, told_apart([names[digest] for digest in shown]), strict=True))
    sources, targets = lines["model"].map(short), lines["evaluated_on"].map(short)
    rates = dict(zip(zip(sources, targets, strict=True), lines["all_targets_asr"], strict=True))
    first, second = ([name for name in short.values() if name in set(of)] for of in (sources, targets))
    st.html(matrix_html(rates, first, second, said=said))
