"""Tables of a summary in LaTeX, with the package booktabs."""

import re
from collections.abc import Sequence

import pandas as pd

from eadbench.harness.analysis.aggregate import FIGURES
from eadbench.harness.numbers import NO_VALUE
from eadbench.harness.plan.grid import Victim
from eadbench.harness.reporting.tables.pages import HEADS, MARK, Page, pages

__all__ = ["escape", "power_of_ten", "render_latex", "symbols"]

_SYMBOLS = {"β": r"$\beta$", "κ": r"$\kappa$", "±": r"$\pm$", "L1": "$L_1$", "L2": "$L_2$", "Linf": r"$L_\infty$"}
_POWER = re.compile(r"(\d+(?:\.\d+)?)e(-?\d+)")
_ESCAPES = {character: f"\\{character}" for character in "&%$#_{}"} | {
    MARK: r"\dag{}",
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def render_latex(summary: pd.DataFrame, victims: Sequence[Victim]) -> str:
    """Render a summary as LaTeX tables."""
    return "% needs \\usepackage{booktabs}\n" + "\n".join(_table(page) for page in pages(summary, victims))


def _table(page: Page) -> str:
    label_count, figure_count = 1 + len(page.parameters), len(FIGURES)
    cases = [group for group in page.heads if group != "all_targets"]
    spans = [rf"\multicolumn{{{figure_count}}}{{c}}{{{page.heads[case].capitalize()}}}" for case in cases]
    starts = [label_count + 1 + figure_count * index for index in range(len(cases))]
    heads = ["Attack", *(symbols(escape(HEADS.get(name, name))) for name in (*page.parameters, *FIGURES * len(cases)))]
    rows = []
    for line in page.lines:
        attack = symbols(escape(line.attack))
        figures = [
            text.replace(NO_VALUE, "N.A.").replace("<", "$<$").replace(">", "$>$")
            for text in line.texts(cases, r"\textbf{{{}}}")
        ]
        rows.append([attack, *map(power_of_ten, line.parameters), *figures])
    lines = [
        r"\begin{table}[htbp]",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{escape(page.title)}. ASR in percent.}}",
        rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
        r"\toprule",
        rf"{'& ' * label_count}{' & '.join(spans)} \\",
        "".join(rf"\cmidrule(lr){{{start}-{start + figure_count - 1}}}" for start in starts),
        rf"{' & '.join(heads)} \\",
        r"\midrule",
        *(rf"{' & '.join(row)} \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par {escape(note)}" for note in page.notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Return a text with LaTeX's special characters escaped."""
    return "".join(_ESCAPES.get(character, character) for character in text)


def symbols(text: str) -> str:
    """Set Greek letters and norms (``FGM-L1``, ``EAD (L1)``) as mathematics."""
    return re.sub(r"β|κ|±|\bL(1|2|inf)\b", lambda match: _SYMBOLS[match[0]], text.replace("∞", "inf"))


def power_of_ten(text: str) -> str:
    """Set 1e-3 and 5e-5 as powers of ten, and other values as they are."""
    match = _POWER.fullmatch(text)
    if match is None:
        return escape(text)
    factor = "" if match[1] == "1" else rf"{match[1]}\cdot "
    return f"${factor}10^{{{int(match[2])}}}$"
