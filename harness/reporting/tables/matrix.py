"""The transfer matrix in Markdown and LaTeX, with the images of each pair of victims."""

import re
from collections.abc import Sequence

import pandas as pd

from eadbench.harness.analysis import transfer
from eadbench.harness.labels import Labels
from eadbench.harness.numbers import NO_VALUE, parameter_text
from eadbench.harness.plan.grid import Victim
from eadbench.harness.reporting.tables import latex
from eadbench.harness.reporting.tables.markdown import escape
from eadbench.harness.spec import Spec

__all__ = ["render_matrix", "render_table"]

_POWER = re.compile(r"\d+(\.\d+)?e-?\d+")
_HEADS = ("crafted on", "attack", "β", "κ")


def render_matrix(summary: pd.DataFrame, format: str, victims: Sequence[Victim], spec: Spec) -> str:
    """Render the transfer matrix as ``markdown`` or ``latex``; empty if nothing was tested on another victim."""
    rates, on_all = (transfer.matrix(summary, victims, figure) for figure in ("all_targets_asr", "all_images_asr"))
    if rates is None or on_all is None:
        return ""
    labels = Labels(lines=summary, victims=victims)
    tested = transfer.victims_tested_on(rates)
    names = labels.short_victims([*tested, *rates["model"]])
    rows = [
        [
            names[line["model"]],
            labels.series[line["series"]],
            parameter_text(line["beta"]),
            parameter_text(line["kappa"]),
            *(transfer.entry_text(line[digest], all_images[digest]) for digest in tested),
        ]
        for line, all_images in zip(rates.to_dict("records"), on_all.to_dict("records"), strict=True)
    ]
    heads = [*_HEADS, *(names[digest] for digest in tested)]
    pairs = transfer.pair_texts(summary, victims, labels)
    return (
        "\n"
        + render_table(transfer.meaning(spec), heads, rows, format)
        + "\n"
        + render_table(
            "Images that count, and the clean error of the victim tested on.", transfer.PAIR_HEADS, pairs, format
        )
    )


def render_table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], format: str) -> str:
    """Render a plain table as ``markdown`` or ``latex``."""
    return (_markdown if format == "markdown" else _latex)(caption, heads, rows)


def _markdown(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, [":--"] * len(heads), *rows]
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in ([escape(text) for text in line] for line in lines))
    return f"**{escape(caption)}**\n\n{table}"


def _latex(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def cells(texts: Sequence[str]) -> str:
        numbers = (latex.power_of_ten(text) if _POWER.fullmatch(text) else _text(text) for text in texts)
        return " & ".join(numbers) + r" \\"

    return "\n".join(
        [
            r"\begin{table}[htbp]",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{_text(caption)}}}",
            rf"\begin{{tabular}}{{{'l' * 2}{'r' * (len(heads) - 2)}}}",
            r"\toprule",
            cells([head[:1].upper() + head[1:] if head[:1].isascii() else head for head in heads]),
            r"\midrule",
            *map(cells, rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _text(text: str) -> str:
    escaped = latex.symbols(latex.escape(text))
    return escaped.replace(NO_VALUE, "N.A.").replace("<", "$<$").replace(">", "$>$")
