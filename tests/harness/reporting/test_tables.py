"""Tables as Markdown, LaTeX and CSV."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pandas as pd
import pytest

from eadbench.harness.analysis.aggregate import COLUMNS
from eadbench.harness.errors import UserError
from eadbench.harness.labels import series_of
from eadbench.harness.numbers import NO_VALUE
from eadbench.harness.reporting.tables import CSV_COLUMNS, render
from eadbench.harness.reporting.tables.layout import Layout, grids
from tests.harness.reporting.sample_summaries import victim
from tests.harness.reporting.table_8 import NAN, TABLE_8, TITLE, shown, summary_of


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
\caption{Table 8: MNIST, cw\_mnist, no defence, 1000 images, TARGETS, victim aaaaaaaaaaaaaaaa. ASR in percent.}
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
    "TARGETS": "all 9 targets each",
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
    cells = {(r"my_attack{50%}~^\#$", "", NAN, NAN): TABLE_8["cw", "", NAN, 0.0]}
    text = render(summary_of(cells, arch="a_b & c", table=""), "latex")
    assert r"my attack\{50\%\}\textasciitilde{}\textasciicircum{}\textbackslash{}\#\$ & 100" in text
    assert r"\caption{MNIST, a\_b \& c," in text
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    spans = [len(re.findall(r"(?<!\\)&", line)) + 3 * line.count("multicolumn") for line in body]
    assert spans == [12, 12, 12]
    assert len(re.findall(r"(?<!\\)\{", text)) == len(re.findall(r"(?<!\\)\}", text))


def test_markdown_escapes_what_users_name() -> None:
    text = render(summary_of({("a|b*c", "", NAN, NAN): TABLE_8["cw", "", NAN, 0.0]}), "markdown")
    assert r"| a\|b\*c | 100 |" in text


def test_csv_is_tidy_and_exact() -> None:
    summary = summary_of(TABLE_8)
    summary.loc[0, "l1"] = 0.1 + 0.2
    lines = render(summary, "csv").splitlines()
    assert lines[0] == ",".join(CSV_COLUMNS)
    assert lines[0].startswith(
        "table,victim,label,dataset,arch,defense,defense_parameters,temperature,attack,norm,decision_rule,beta,kappa,"
        "parameters,case,asr,l1,l2,linf,targets,targets_per_image,images,missing,all_images_asr,clean_error,"
    )
    assert lines[0].endswith(
        ",quantised_all_targets_linf_lo,quantised_all_targets_linf_hi,indicators,model,evaluated_on,cell"
    )
    victim = '"cw_mnist, no defence"'
    cw = f"8,{victim},C&W,mnist,cw_mnist,none,{{}},,cw,,,,0.0,{{}},best,"
    assert lines[1].startswith(f"{cw}100.0,0.30000000000000004,1.377,0.379,all,9,1000,0,,,100.0,22.46,")
    fgm = f"8,{victim},FGM-L1,mnist,cw_mnist,none,{{}},,fgm,l1,,,,{{}},worst,"
    assert lines[6].startswith(f"{fgm}0.0,,,,all,9,1000,0,,,39.0,")
    back = pd.read_csv(io.StringIO("\n".join(lines)), dtype={"table": str}, keep_default_na=True)
    assert back["l1"].tolist()[:5] == summary["l1"].tolist()[:5]


def test_latex_sets_beta_as_a_power_of_ten() -> None:
    text = render(summary_of({("ead", "en", 5e-5, NAN): TABLE_8["ead", "en", 1e-3, 0.0]}), "latex")
    assert r"EAD (EN) & $5\cdot 10^{-5}$ & 100" in text
    assert r"$\kappa$" not in text


def test_cells_that_differ_in_a_hyperparameter_are_two_lines_with_a_column_of_it() -> None:
    """Each with its own figures, in every format."""
    cells = {("ead", "l1", beta, 0.0): TABLE_8["ead", rule, 1e-3, 0.0] for rule, beta in (("en", 1.0), ("l1", 2.0))}
    summary = summary_of(cells).assign(beta=1e-3)
    summary["parameters"] = ['{"max_iterations":2}'] * 3 + ['{"max_iterations":40}'] * 3
    summary["series"] = series_of(summary)
    markdown, latex = render(summary, "markdown"), render(summary, "latex")
    assert "| EAD (L1) | 2 | 1e-3 | 0 | 100 | 9.808 |" in markdown
    assert "| EAD (L1) | 40 | 1e-3 | 0 | 100 | **7.153** |" in markdown
    assert r"EAD ($L_1$) & 2 & $10^{-3}$ & 0 & 100 & 9.808" in latex
    assert r"EAD ($L_1$) & 40 & $10^{-3}$ & 0 & 100 & \textbf{7.153}" in latex
    for width in (80, 140):
        lines = [line.split() for line in shown(summary, width).splitlines() if line.startswith("EAD")]
        assert [line[2 if width > 80 else 3] for line in lines] == ["2", "40"]
        assert ["9.808" in lines[0], "7.153" in lines[1]] == [True, True]
    table = pd.read_csv(io.StringIO(render(summary, "csv"))).query("case == 'best'")
    assert dict(zip(table["label"], table["l1"], strict=True)) == {
        "EAD (L1), max_iterations 2": 9.808,
        "EAD (L1), max_iterations 40": 7.153,
    }
    assert table["max_iterations"].tolist() == [2, 40]


@pytest.mark.parametrize("format", ["csv", "markdown", "latex"])
def test_empty_summary(format: str) -> None:
    assert "MNIST" not in render(pd.DataFrame(columns=list(COLUMNS)), format)
    assert shown(pd.DataFrame(columns=list(COLUMNS)), 80).strip() == ""


def test_unknown_format_is_refused() -> None:
    with pytest.raises(UserError, match="format: must be one of csv, markdown, latex, not 'html'"):
        render(summary_of(TABLE_8), "html")


@pytest.mark.parametrize(
    ("kind", "count", "words"),
    [
        ("all", 9, "all 9 targets each"),
        ("all", 1, "1 target each"),
        ("random", 1, "1 random target each"),
        ("random", 3, "3 random targets each"),
        ("file", 1, "1 target each"),
        ("untargeted", 1, "untargeted"),
    ],
)
def test_every_format_says_over_how_many_targets(kind: str, count: int, words: str) -> None:
    """A worst case over one target reads like one over nine, unless the table tells."""
    summary = summary_of(TABLE_8).assign(targets=kind, targets_per_image=count)
    title = f"1000 images, {words}, victim"
    assert title in render(summary, "markdown") and title in render(summary, "latex")
    for width in (60, 80, 200):
        assert title in " ".join(shown(summary, width).split())
    table = pd.read_csv(io.StringIO(render(summary, "csv")))
    assert set(table["targets"]) == {kind} and set(table["targets_per_image"]) == {count}


@pytest.mark.parametrize(("kind", "head"), [("untargeted", "untargeted"), ("random", "one target each")])
def test_cases_that_coincide_stand_once(kind: str, head: str) -> None:
    summary = summary_of(TABLE_8).assign(targets=kind, targets_per_image=1)
    markdown, latex = render(summary, "markdown"), render(summary, "latex")
    assert f"| {head}: ASR | L1 | L2 | L∞ |\n" in markdown and "case" not in markdown
    assert rf"\multicolumn{{4}}{{c}}{{{head.capitalize()}}} \\" in latex and r"\cmidrule(lr){4-7}" + "\n" in latex
    assert latex.count("22.46") == markdown.count("22.46") == 1
    for width in (60, 200):
        text = shown(summary, width)
        assert text.count("22.46") == 1 and "case" not in text


def test_a_line_of_one_case_has_its_figures_once_among_others() -> None:
    summary = summary_of(TABLE_8).astype({"targets": "object"})
    one = summary["attack"] == "cw"
    summary.loc[one, ["targets", "targets_per_image"]] = ["untargeted", 1]
    line = next(line for line in render(summary, "markdown").splitlines() if line.startswith("| C&W |"))
    assert line.replace(" ", "") == "|C&W|untargeted||0|||||100|22.46|1.972|0.514|||||||||"
    assert r"C\&W & untargeted &  & 0 &  &  &  &  & 100 & 22.46 & 1.972 & 0.514 &  &  &  &  \\" in render(
        summary, "latex"
    )
    for width in (60, 80, 200):
        text = shown(summary, width)
        assert text.count("22.46") == 1 and "13.93" not in text and "32.3" not in text and "26.56" in text
        if width == 80:
            assert re.search(r"^C&W +untargeted +0 +100 +22.46", text, re.MULTILINE)
        if width == 60:  # the targets stand with the attack, which keeps its place
            assert re.search(r"^C&W, +untargeted +0 +100 +22.46.*\nuntargeted$", text, re.MULTILINE)
    (grid,) = grids(summary, [], Layout(cases=["worst"], figures=["l1"]))
    assert grid.lines[0][-1].text == "32.3"  # its one figure, whichever case is asked for


def test_the_accuracy_of_a_victim_stands_above_its_table() -> None:
    tested = replace(victim("a" * 16), accuracy=0.98765)
    for format in ("markdown", "latex"):
        text = render(summary_of(TABLE_8), format, [tested]).replace("\\", "")
        assert "no defence, accuracy 98.77 %, 1000 images" in text
        assert "accuracy" not in render(summary_of(TABLE_8), format, [victim("a" * 16)])
