"""What detectors reject, the attacks that know them beside those that do not, and their ROC curves."""

import pandas as pd
import streamlit as st

from eadbench.dashboards import choices
from eadbench.dashboards.rendering import render
from eadbench.dashboards.roc_chart import roc_chart
from eadbench.dashboards.sources import Source
from eadbench.dashboards.views.parts import rows_or_stop
from eadbench.harness.analysis.summary import Summary
from eadbench.harness.reporting.tables import detections
from eadbench.harness.styles import styles


def show(source: Source) -> None:
    """Show the page."""
    st.title("Detectors")
    summary = rows_or_stop(source)
    heads, rows = detections.detections_texts(summary)
    if not rows:
        st.info("No detector has judged examples of this sweep. A victim's `detectors` in the spec names some.")
        return
    st.html(
        render(
            "detectors.html.j2",
            heads=heads,
            rows=rows,
            total=len(rows),
            numbers=detections.NUMBERS,
            meaning=detections.MEANING,
            figures=[],
        )
    )
    st.download_button(
        "CSV",
        detections.detections_csv(summary),
        file_name=f"{source.name.replace('/', '-')}-detections.csv",
        mime="text/csv",
        on_click="ignore",
        help="Every figure in full precision.",
    )
    _curves(summary)


def _curves(summary: Summary) -> None:
    """Show the ROC curves of one detector of one victim."""
    points = _points(summary)
    if points.empty:
        return
    st.header("ROC curves")
    titles = dict.fromkeys(points["title"])
    title = choices.select("Detector", list(titles), key="detector", width=choices.WIDE)
    own = points[points["title"] == title]
    looks, labels = styles(summary.lines), summary.labels.series
    series = {labels[each]: looks[each] for each in dict.fromkeys(own["series"])}
    st.altair_chart(
        roc_chart(own.assign(series=own["series"].map(labels)), series),
        alt=f"true positives over false positives of {title}, against {', '.join(series)}",
    )
    st.caption("Successes of a cell against the attacked images without an attack. Grey: chance.")


def _points(summary: Summary) -> pd.DataFrame:
    """Return the points of every curve: `title`, `cell`, `series`, `kappa`, and `false` and `true` in percent."""
    if summary.detections is None:
        return pd.DataFrame()
    own = summary.own[summary.own["case"] == "best"].drop_duplicates("cell").set_index("cell")
    parts = []
    for line in summary.detections.of([*own.index]).to_dict("records"):
        curve = summary.detections.curves.get((line["detector"], line["cell"]))
        if curve is not None:
            cell = own.loc[line["cell"]]
            parts.append(
                pd.DataFrame({"false": 100 * curve[0], "true": 100 * curve[1]}).assign(
                    title=f"{line['label']} on {summary.labels.victim[line['model']]}",
                    cell=line["cell"],
                    series=cell["series"],
                    kappa=cell["kappa"],
                )
            )
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
