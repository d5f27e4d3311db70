"""What detectors reject: a line per detector and cell, the adaptive attacks beside the oblivious ones."""

from itertools import groupby

import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from eadbench.harness.analysis.summary import Summary
from eadbench.harness.labels import AXES, FIGURES
from eadbench.harness.numbers import NO_VALUE, figure_text, parameter_text, rate_text
from eadbench.harness.reporting.tables.matrix import render_table

__all__ = ["MEANING", "NUMBERS", "detections_csv", "detections_terminal", "detections_texts", "render_detections"]

MEANING = (
    "Detectors. An attack that knows the detector has it in its loss, and succeeds only with what it accepts. Means "
    "over every target, of the successes: L1, L2, and the share rejected at the threshold that was set on training "
    "images. With the detector, an example counts if it fools the victim and is not rejected. AUC and TPR (true "
    "positives at 5 % false positives) tell the successes from the attacked images without an attack; FPR is the share "
    "of these that the threshold rejects. MMD judges sets of a cell, and has no AUC. In percent, but for the distances "
    "and the AUC."
)
NUMBERS = (FIGURES["l1"], FIGURES["l2"], "ASR", "with detector", "rejected", "AUC", "TPR", "FPR")
"""Heads of the columns of numbers."""
_KNOWS = {"": "no", "this": "yes", "other": "another"}


def detections_texts(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Return the heads and the lines of the table; no lines without detectors."""
    lines = _lines(summary)
    axes = [name for name in ("beta", "kappa") if len(lines) and lines[name].notna().any()]
    several = lines["model"].nunique() > 1
    heads = [*(["victim"] if several else []), "detector", "attack", *(AXES[name] for name in axes), "knows it"]
    return [*heads, *NUMBERS], [
        [
            *([summary.labels.victim[line["model"]]] if several else []),
            *(line["label"], line["attack"], *(parameter_text(line[name]) for name in axes), _KNOWS[line["knows"]]),
            *(figure_text(line[f"all_targets_{norm}"]) for norm in ("l1", "l2")),
            *(rate_text(line[name]) for name in ("asr", "asr_with_detector", "rejected")),
            NO_VALUE if pd.isna(line["auc"]) else f"{line['auc']:.3f}",
            *(rate_text(line[name]) for name in ("true_positives", "clean_rejected")),
        ]
        for line in lines.to_dict("records")
    ]


def detections_terminal(summary: Summary) -> Group | None:
    """Return a table per detector for a terminal; None without detectors."""
    heads, rows = detections_texts(summary)
    names = heads.index("attack")
    tables = []
    for detector, lines in groupby(rows, key=lambda row: row[:names]):
        title = f"Detector: {', '.join(reversed(detector))}"
        table = Table(
            title=title, title_style="italic", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
        )
        texts = [row[names:] for row in lines]
        for i, head in enumerate(heads[names:]):
            width = max(len(row[i]) for row in texts)
            table.add_column(head, justify="right" if head in NUMBERS else "left", min_width=width if i else None)
        for row in texts:
            table.add_row(*map(Text, row))
        tables.append(table)
    return Group(*tables, Text(MEANING, style="dim"), Text()) if tables else None


def render_detections(summary: Summary, format: str) -> str:
    """Render the table as ``markdown`` or ``latex``; empty without detectors."""
    heads, rows = detections_texts(summary)
    return f"\n{render_table(MEANING, heads, rows, format)}" if rows else ""


def detections_csv(summary: Summary) -> str:
    """Return every figure in full precision as CSV; empty without detectors."""
    lines = _lines(summary)
    if lines.empty:
        return ""
    victims = lines["model"].map(summary.labels.victim)
    lines = lines.rename(columns={"label": "detector", "detector": "detector_digest"}).assign(victim=victims)
    first = ["victim", "detector", "attack", "beta", "kappa", "knows"]
    return str(lines[[*first, *lines.columns.difference(first, sort=False)]].to_csv(index=False, lineterminator="\n"))


def _lines(summary: Summary) -> pd.DataFrame:
    """Return the lines of detections with the label, the axes and the distances of their cells."""
    own = summary.own[summary.own["case"] == "best"].drop_duplicates("cell").set_index("cell")
    columns = ["series", "beta", "kappa", "all_targets_l1", "all_targets_l2"]
    if summary.detections is None or own.empty:
        return pd.DataFrame(columns=["model", *columns])
    lines = summary.detections.of([*own.index]).join(own[columns], on="cell")
    attacks = {series: attack.without(("adaptive",)) for series, attack in summary.labels.attacks.items()}
    return lines.assign(attack=lines["series"].map(attacks)).drop(columns="series").reset_index(drop=True)
