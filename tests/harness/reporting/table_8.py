"""A summary with some of the figures of the paper's table 8."""

from __future__ import annotations

import math

import pandas as pd
from rich.console import Console

from eadbench.harness.analysis.aggregate import ALL_TARGETS, CASES, COLUMNS, FIGURES
from eadbench.harness.labels import series_of
from eadbench.harness.reporting.tables import terminal

NAN = math.nan
# The paper's table 8: C&W, FGM-L1, EAD by both rules; best, average and worst case. By attack, norm or decision rule,
# β and κ.
Figures = list[tuple[float, float, float, float]]
TABLE_8: dict[tuple[str, str, float, float], Figures] = {
    ("cw", "", NAN, 0.0): [
        (100, 13.93, 1.377, 0.379),
        (100, 22.46, 1.972, 0.514),
        (99.9, 32.3, 2.639, 0.663),
    ],
    ("fgm", "l1", NAN, NAN): [(99.9, 26.56, 2.29, 0.577), (39, 53.5, 4.186, 0.782), (0, NAN, NAN, NAN)],
    ("ead", "en", 1e-3, 0.0): [
        (100, 9.808, 1.427, 0.452),
        (100, 17.4, 2.001, 0.594),
        (100, 25.52, 2.582, 0.748),
    ],
    ("ead", "l1", 1e-3, 0.0): [
        (100, 7.153, 1.639, 0.593),
        (100, 14.11, 2.211, 0.768),
        (100, 22.05, 2.747, 0.934),
    ],
}


def summary_of(cells: dict[tuple[str, str, float, float], Figures], **columns: object) -> pd.DataFrame:
    lines = []
    for index, ((attack, variant, beta, kappa), figures) in enumerate(cells.items()):
        norm, rule = (variant, None) if attack == "fgm" else (None, variant or None)
        for case, values in zip(CASES, figures, strict=True):
            line: dict[str, object] = {"cell": f"{index:016x}", "model": "a" * 16, "evaluated_on": "a" * 16}
            line |= {
                "arch": "cw_mnist",
                "table": "8",
                "dataset": "mnist",
                "defense": "none",
                "defense_parameters": "{}",
                "temperature": NAN,
            }
            line |= {"attack": attack, "norm": norm, "decision_rule": rule, "beta": beta, "kappa": kappa}
            line |= {"parameters": "{}", "case": case}
            line |= {"targets": "all", "targets_per_image": 9, "images": 1000, "missing": 0} | dict(
                zip(FIGURES, values, strict=True)
            )
            # Figures made up for all targets: those of the average case.
            line |= dict(zip(ALL_TARGETS, figures[1], strict=True))
            lines.append(line | columns)
    numbers = ("temperature", "beta", "kappa", *FIGURES, *ALL_TARGETS)
    summary = pd.DataFrame(lines, columns=list(COLUMNS)).astype(dict.fromkeys(numbers, "float64"))
    return summary.assign(series=series_of(summary))


def shown(summary: pd.DataFrame, width: int, *, styled: bool = False) -> str:
    console = Console(width=width, color_system="standard" if styled else None, force_terminal=styled)
    with console.capture() as capture:
        console.print(terminal(summary, width=width))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


TITLE = "Table 8: MNIST, cw_mnist, no defence, 1000 images, all 9 targets each, victim aaaaaaaaaaaaaaaa"
