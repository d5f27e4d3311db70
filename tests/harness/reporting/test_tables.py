"""``eadbench.harness.reporting.tables``: every format of a small summary, the paper's way with numbers, the marks."""

from __future__ import annotations

import io
import math
import re

import pandas as pd
import pytest
from rich.console import Console

from eadbench.harness.analysis.aggregate import ALL_TARGETS, CASES, COLUMNS, FIGURES
from eadbench.harness.errors import UserError
from eadbench.harness.labels import NO_VALUE, figure_text, parameter_text, rate_text
from eadbench.harness.reporting.tables import CSV_COLUMNS, render, terminal

NAN = math.nan
# The paper's table 8: C&W, FGM-L1, EAD by both rules; best, average and worst case.
Figures = list[tuple[float, float, float, float]]
TABLE_8: dict[tuple[str, str, float, float], Figures] = {
    ("C&W", "", NAN, 0.0): [
        (100, 13.93, 1.377, 0.379),
        (100, 22.46, 1.972, 0.514),
        (99.9, 32.3, 2.639, 0.663),
    ],
    ("FGM-L1", "", NAN, NAN): [(99.9, 26.56, 2.29, 0.577), (39, 53.5, 4.186, 0.782), (0, NAN, NAN, NAN)],
    ("EAD", "EN", 1e-3, 0.0): [
        (100, 9.808, 1.427, 0.452),
        (100, 17.4, 2.001, 0.594),
        (100, 25.52, 2.582, 0.748),
    ],
    ("EAD", "L1", 1e-3, 0.0): [
        (100, 7.153, 1.639, 0.593),
        (100, 14.11, 2.211, 0.768),
        (100, 22.05, 2.747, 0.934),
    ],
}


def summary_of(cells: dict[tuple[str, str, float, float], Figures], **columns: object) -> pd.DataFrame:
    lines = []
    for index, ((attack, rule, beta, kappa), figures) in enumerate(cells.items()):
        for case, values in zip(CASES, figures, strict=True):
            line: dict[str, object] = {"cell": f"{index:016x}", "model": "a" * 16, "evaluated_on": "a" * 16}
            line |= {
                "arch": "cw_mnist",
                "table": "8",
                "dataset": "MNIST",
                "defense": "none",
                "temperature": NAN,
            }
            line |= {"attack": attack, "decision_rule": rule, "beta": beta, "kappa": kappa, "case": case}
            line |= {"images": 1000} | dict(zip(FIGURES, values, strict=True))
            # Figures made up for all targets: those of the average case.
            line |= dict(zip(ALL_TARGETS, figures[1], strict=True))
            lines.append(line | columns)
    numbers = ("temperature", "beta", "kappa", *FIGURES, *ALL_TARGETS)
    return pd.DataFrame(lines, columns=list(COLUMNS)).astype(dict.fromkeys(numbers, "float64"))


def shown(summary: pd.DataFrame, width: int, *, styled: bool = False) -> str:
    console = Console(width=width, color_system="standard" if styled else None, force_terminal=styled)
    with console.capture() as capture:
        console.print(terminal(summary, width=width))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


TITLE = "Table 8: MNIST, cw_mnist, no defence, 1000 images, victim aaaaaaaaaaaaaaaa"

TERMINAL_80 = """\
TITLE
attack    case        β  κ   ASR     L1     L2     L∞
─────────────────────────────────────────────────────
C&W       best           0   100  13.93  1.377  0.379
          average            100  22.46  1.972  0.514
          worst             99.9   32.3  2.639  0.663

FGM-L1    best              99.9  26.56   2.29  0.577
          average             39   53.5  4.186  0.782
          worst                0      ~      ~      ~

EAD (EN)  best     1e-3  0   100  9.808  1.427  0.452
          average            100   17.4  2.001  0.594
          worst              100  25.52  2.582  0.748

EAD (L1)  best     1e-3  0   100  7.153  1.639  0.593
          average            100  14.11  2.211  0.768
          worst              100  22.05  2.747  0.934
"""

TERMINAL_110 = """\
TITLE
                            best case                 average case                worst case
attack       β  κ    ASR     L1     L2     L∞   ASR     L1     L2     L∞    ASR     L1     L2     L∞
─────────────────   ─────────────────────────   ────────────────────────   ─────────────────────────
C&W             0    100  13.93  1.377  0.379   100  22.46  1.972  0.514   99.9   32.3  2.639  0.663
FGM-L1              99.9  26.56   2.29  0.577    39   53.5  4.186  0.782      0      ~      ~      ~
EAD (EN)  1e-3  0    100  9.808  1.427  0.452   100   17.4  2.001  0.594    100  25.52  2.582  0.748
EAD (L1)  1e-3  0    100  7.153  1.639  0.593   100  14.11  2.211  0.768    100  22.05  2.747  0.934
"""


def spelled(expected: str) -> str:
    """Put in the title, and the en dash that a linter would take for a hyphen."""
    return expected.replace("TITLE", TITLE).replace("~", NO_VALUE)


def test_terminal_of_80_columns_puts_the_cases_below_each_other() -> None:
    assert shown(summary_of(TABLE_8), 80) == spelled(TERMINAL_80)


def test_terminal_of_110_columns_puts_the_cases_side_by_side() -> None:
    assert shown(summary_of(TABLE_8), 110) == spelled(TERMINAL_110)


def test_terminal_of_160_columns_shows_all_targets_too() -> None:
    assert shown(summary_of(TABLE_8), 160).splitlines()[2].split().count("ASR") == 4


@pytest.mark.parametrize("width", [60, 80, 99, 100, 110, 126, 127, 140, 200])
def test_terminal_cuts_nothing_off(width: int) -> None:
    text = shown(summary_of(TABLE_8), width)
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())
    assert all(word in text for word in ("EAD (L1)", "22.05", "2.747", "0.934"))


def test_terminal_marks_the_least_in_bold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    text = shown(summary_of(TABLE_8), 110, styled=True)
    # Best and average case: C&W has the least L2 and Linf at 100 %; worst case: only EAD is at 100 %.
    least = ["1.377", "0.379", "1.972", "0.514", "2.582", "0.748", "7.153", "14.11", "22.05"]
    assert re.findall(r"\x1b\[1m\s*([\d.]+)\s*\x1b\[0m", text) == least


def test_markdown() -> None:
    dash = NO_VALUE
    figures = "ASR | L1 | L2 | L∞"
    assert render(summary_of(TABLE_8), "markdown").splitlines() == [
        f"**{TITLE}**",
        "",
        f"| attack | β | κ | best case: {figures} | average case: {figures} | worst case: {figures} "
        f"| all targets: {figures} |",
        "| :-- |" + " --: |" * 18,
        "| C&W |  | 0 | 100 | 13.93 | **1.377** | **0.379** | 100 | 22.46 | **1.972** | **0.514** "
        "| 99.9 | 32.3 | 2.639 | 0.663 | 100 | 22.46 | **1.972** | **0.514** |",
        "| FGM-L1 |  |  | 99.9 | 26.56 | 2.29 | 0.577 | 39 | 53.5 | 4.186 | 0.782 "
        f"| 0 | {dash} | {dash} | {dash} | 39 | 53.5 | 4.186 | 0.782 |",
        "| EAD (EN) | 1e-3 | 0 | 100 | 9.808 | 1.427 | 0.452 | 100 | 17.4 | 2.001 | 0.594 "
        "| 100 | 25.52 | **2.582** | **0.748** | 100 | 17.4 | 2.001 | 0.594 |",
        "| EAD (L1) | 1e-3 | 0 | 100 | **7.153** | 1.639 | 0.593 | 100 | **14.11** | 2.211 | 0.768 "
        "| 100 | **22.05** | 2.747 | 0.934 | 100 | **14.11** | 2.211 | 0.768 |",
    ]


LATEX = r"""% needs \usepackage{booktabs}
\begin{table}[htbp]
\centering\footnotesize\setlength{\tabcolsep}{3pt}
\caption{Table 8: MNIST, cw\_mnist, no defence, 1000 images, victim aaaaaaaaaaaaaaaa. ASR in percent.}
\begin{tabular}{lrrrrrrrrrrrrrr}
\toprule
& & & \multicolumn{4}{c}{Best case} & \multicolumn{4}{c}{Average case} & \multicolumn{4}{c}{Worst case} \\
\cmidrule(lr){4-7}\cmidrule(lr){8-11}\cmidrule(lr){12-15}
Attack & $\beta$ & $\kappa$ & FIGURES & FIGURES & FIGURES \\
\midrule
C\&W &  & 0 & 100 & 13.93 & \textbf{1.377} & \textbf{0.379} & AVERAGE-CW & WORST-CW \\
FGM-$L_1$ &  &  & 99.9 & 26.56 & 2.29 & 0.577 & 39 & 53.5 & 4.186 & 0.782 & 0 & N.A. & N.A. & N.A. \\
EAD (EN) & $10^{-3}$ & 0 & 100 & 9.808 & 1.427 & 0.452 & 100 & 17.4 & 2.001 & 0.594 & WORST-EN \\
EAD ($L_1$) & $10^{-3}$ & 0 & 100 & \textbf{7.153} & 1.639 & 0.593 & AVERAGE-L1 & WORST-L1 \\
\bottomrule
\end{tabular}
\end{table}
"""
# Cells that would make the lines above too long.
LATEX_REST = {
    "FIGURES": r"ASR & $L_1$ & $L_2$ & $L_\infty$",
    "AVERAGE-CW": r"100 & 22.46 & \textbf{1.972} & \textbf{0.514}",
    "AVERAGE-L1": r"100 & \textbf{14.11} & 2.211 & 0.768",
    "WORST-CW": "99.9 & 32.3 & 2.639 & 0.663",
    "WORST-EN": r"100 & 25.52 & \textbf{2.582} & \textbf{0.748}",
    "WORST-L1": r"100 & \textbf{22.05} & 2.747 & 0.934",
}


def test_latex() -> None:
    expected = LATEX
    for name, cells in LATEX_REST.items():
        expected = expected.replace(name, cells)
    assert render(summary_of(TABLE_8), "latex") == expected


def test_latex_escapes_what_users_name() -> None:
    cells = {(r"my_attack{50%}~^\#$", "", NAN, NAN): TABLE_8["C&W", "", NAN, 0.0]}
    text = render(summary_of(cells, arch="a_b & c", table=""), "latex")
    assert r"my\_attack\{50\%\}\textasciitilde{}\textasciicircum{}\textbackslash{}\#\$ & 100" in text
    assert r"\caption{MNIST, a\_b \& c," in text
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    spans = [len(re.findall(r"(?<!\\)&", line)) + 3 * line.count("multicolumn") for line in body]
    assert spans == [12, 12, 12]
    assert len(re.findall(r"(?<!\\)\{", text)) == len(re.findall(r"(?<!\\)\}", text))


def test_markdown_escapes_what_users_name() -> None:
    text = render(summary_of({("a|b*c", "", NAN, NAN): TABLE_8["C&W", "", NAN, 0.0]}), "markdown")
    assert r"| a\|b\*c | 100 |" in text


def test_terminal_takes_names_literally() -> None:
    assert "[red]x" in shown(summary_of({("[red]x", "", NAN, NAN): TABLE_8["C&W", "", NAN, 0.0]}), 120)


def test_csv_is_tidy_and_exact() -> None:
    summary = summary_of(TABLE_8)
    summary.loc[0, "l1"] = 0.1 + 0.2
    lines = render(summary, "csv").splitlines()
    assert lines[0] == ",".join(CSV_COLUMNS)
    assert lines[0].startswith(
        "table,dataset,defense,temperature,attack,decision_rule,beta,kappa,case,asr,l1,l2,linf,images,all_targets_asr,"
    )
    assert lines[0].endswith(",all_targets_linf_lo,all_targets_linf_hi,model,evaluated_on,arch,cell")
    assert lines[1].startswith("8,MNIST,none,,C&W,,,0.0,best,100.0,0.30000000000000004,1.377,0.379,1000,100.0,22.46,")
    assert lines[6].startswith("8,MNIST,none,,FGM-L1,,,,worst,0.0,,,,1000,39.0,")
    back = pd.read_csv(io.StringIO("\n".join(lines)), dtype={"table": str}, keep_default_na=True)
    assert back["l1"].tolist()[:5] == summary["l1"].tolist()[:5]


@pytest.mark.parametrize(
    "text", ["22.46", "1.972", "0.514", "100.4", "21640", "1326", "61", "0.004", "0.03", "7.1", "2338", "0"]
)
def test_distortions_are_printed_as_in_the_paper(text: str) -> None:
    assert figure_text(float(text)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (22.4649, "22.46"),
        (9.99961, "10"),
        (999.96, "1000"),
        (21638.4, "21640"),
        (0.51449, "0.514"),
        (0.9999, "1"),
        (0.00042, "0.0004"),
        (3.2e-6, "0.000003"),
        (NAN, NO_VALUE),
    ],
)
def test_distortions_are_rounded(value: float, text: str) -> None:
    assert figure_text(value) == text


@pytest.mark.parametrize(("value", "text"), [(100.0, "100"), (99.94, "99.9"), (0.0, "0"), (34.6, "34.6")])
def test_rates_are_printed_as_in_the_paper(value: float, text: str) -> None:
    assert rate_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-3, "1e-3"), (5e-5, "5e-5"), (0.025, "2.5e-2"), (0.5, "0.5"), (0.0, "0"), (60.0, "60")],
)
def test_parameters_are_printed_as_in_the_paper(value: float, text: str) -> None:
    assert parameter_text(value) == text


def test_latex_sets_beta_as_a_power_of_ten() -> None:
    text = render(summary_of({("EAD", "EN", 5e-5, NAN): TABLE_8["EAD", "EN", 1e-3, 0.0]}), "latex")
    assert r"EAD (EN) & $5\cdot 10^{-5}$ & 100" in text
    assert r"$\kappa$" not in text


def test_one_table_per_victim_and_data_set() -> None:
    first = summary_of(TABLE_8)
    distilled = summary_of(
        TABLE_8,
        table="hardened",
        defense="distillation",
        temperature=100.0,
        model="b" * 16,
        evaluated_on="b" * 16,
    )
    moved = summary_of(TABLE_8, evaluated_on="b" * 16)
    moved.loc[moved["attack"] == "C&W", "images"] = 900
    text = render(pd.concat([first, distilled, moved], ignore_index=True), "markdown")
    assert [line.strip("*") for line in text.splitlines() if line.startswith("**")] == [
        TITLE,
        "hardened: MNIST, cw_mnist, distillation T = 100, 1000 images, victim bbbbbbbbbbbbbbbb",
        "Table 8: MNIST, cw_mnist, no defence, 900 to 1000 images, "
        "crafted on aaaaaaaaaaaaaaaa, tested on bbbbbbbbbbbbbbbb",
    ]


def test_a_single_line_has_no_best() -> None:
    assert "**7" not in render(summary_of({("EAD", "L1", NAN, NAN): TABLE_8["EAD", "L1", 1e-3, 0.0]}), "markdown")


def test_nothing_is_best_where_nothing_succeeds() -> None:
    failed = {
        ("FGM-L1", "", NAN, NAN): [(0.0, NAN, NAN, NAN)] * 3,
        ("FGM-L2", "", NAN, NAN): [(0.0, NAN, NAN, NAN)] * 3,
    }
    assert render(summary_of(failed), "markdown").count("**") == 2  # the title


def test_what_prints_the_same_is_marked_the_same() -> None:
    figures = [(100.0, 1.2341, 1.0, 1.0)] * 3
    rivals = {("EAD", "EN", NAN, NAN): figures, ("EAD", "L1", NAN, NAN): [(100.0, 1.2339, 2.0, 2.0)] * 3}
    assert render(summary_of(rivals), "markdown").count("**1.234**") == 8


@pytest.mark.parametrize("format", ["csv", "markdown", "latex"])
def test_empty_summary(format: str) -> None:
    assert "MNIST" not in render(pd.DataFrame(columns=list(COLUMNS)), format)
    assert shown(pd.DataFrame(columns=list(COLUMNS)), 80).strip() == ""


def test_unknown_format_is_refused() -> None:
    with pytest.raises(UserError, match="format: must be one of csv, markdown, latex, not 'html'"):
        render(summary_of(TABLE_8), "html")
