"""ROC curves of detectors: a figure per victim and detector, of all cells whose attacks do not know it or know it."""

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from eadbench.harness.analysis.summary import Summary
from eadbench.harness.reporting.figures.files import slug
from eadbench.harness.reporting.figures.plotting import STYLE, wrap
from eadbench.harness.styles import styles

__all__ = ["draw_roc"]

_WIDTH, _HEIGHT, _ENTRY = 4.2, 3.6, 0.17
"""Inches."""
_FAINTEST = 0.35


def draw_roc(summary: Summary) -> dict[str, Figure]:
    """Draw the curves of each detector, by the name of the figure; curves of a greater κ are darker."""
    if summary.detections is None:
        return {}
    own = summary.own[summary.own["case"] == "best"].drop_duplicates("cell").set_index("cell")
    looks, labels = styles(summary.lines), summary.labels
    kappas = sorted(own["kappa"].unique())
    figures: dict[str, Figure] = {}
    with mpl.rc_context(STYLE):
        for keys, lines in summary.detections.of([*own.index]).groupby(["model", "detector"], sort=False):
            model, digest = map(str, keys)
            drawn = [cell for cell in lines["cell"] if (digest, cell) in summary.detections.curves]
            if not drawn:
                continue
            series = list(dict.fromkeys(own.loc[drawn, "series"]))
            figure = Figure(figsize=(_WIDTH, _HEIGHT + _ENTRY * len(series)), layout="constrained")
            title = f"{lines['label'].iloc[0]} on {labels.victim[model]}"
            figure.suptitle(wrap(title, _WIDTH), x=0.01, ha="left")
            axes = figure.add_subplot()
            for cell in drawn:
                look = looks[own.loc[cell, "series"]].matplotlib
                rank = (kappas.index(own.loc[cell, "kappa"]) + 1) / len(kappas)
                alpha = _FAINTEST + (1 - _FAINTEST) * rank
                false, true = summary.detections.curves[digest, cell]
                axes.step(100 * false, 100 * true, where="post", alpha=alpha, **look | {"marker": "none"})
            axes.plot([0, 100], [0, 100], color="0.7", linewidth=0.8, zorder=0)
            axes.set_xlabel("false positives (%)")
            axes.set_ylabel("true positives (%)")
            handles = [Line2D([], [], **looks[each].matplotlib | {"marker": "none"}) for each in series]
            names = [labels.series[each] for each in series]
            figure.legend(handles, names, loc="outside lower center", ncols=1, frameon=False, handlelength=2.6)
            figures[f"roc-{slug(lines['label'].iloc[0])}-{model[:6]}-{digest[:6]}"] = figure
    return figures
