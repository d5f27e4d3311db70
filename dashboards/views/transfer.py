"""How often examples crafted on one victim fool another."""

import pandas as pd
import streamlit as st

from dashboards import charts, choices
from dashboards.lines import described, victim_names
from dashboards.sources import Source
from dashboards.views.parts import rows_or_stop
from harness import transfer_matrix
from harness.words import parameter_text


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
    crafted = lines[lines["model"].isin(matrix["model"])]
    with st.container(horizontal=True):
        series = choices.one("Attack", list(dict.fromkeys(crafted["series"])), key="attack")
        crafted = _of_beta(crafted[crafted["series"] == series])
    kappas = sorted(crafted["kappa"].unique().tolist())
    names = victim_names(found.victims)
    columns = st.columns(2) if len(kappas) > 1 else [st.container()]
    for index, kappa in enumerate(kappas):
        with columns[index % len(columns)]:
            st.subheader(f"κ = {parameter_text(kappa)}")
            _matrix(crafted[crafted["kappa"] == kappa], names)
    st.caption(
        "ASR over every target class, in percent. On its own victim an example succeeds if it reaches the margin κ; on "
        "another, if that gives it the target class, by whatever margin. An attack that fails on its own victim has no "
        "example to transfer, and counts as a failure."
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


def _matrix(lines: pd.DataFrame, names: dict[str, str]) -> None:
    cells = pd.DataFrame(
        {
            "source": lines["model"].map(lambda digest: names.get(digest, digest)),
            "target": lines["evaluated_on"].map(lambda digest: names.get(digest, digest)),
            "asr": lines["all_targets_asr"],
        }
    )[lines["case"] == "best"]
    order = [name for name in names.values() if name in {*cells["source"], *cells["target"]}]
    said = "; ".join(f"{crafted} on {tested}: {asr:.1f} %" for crafted, tested, asr in cells.to_numpy().tolist())
    sources = [name for name in order if name in set(cells["source"])]
    targets = [name for name in order if name in set(cells["target"])]
    st.altair_chart(charts.matrix(cells, sources, targets), alt=f"ASR by victim crafted on and tested on: {said}")
