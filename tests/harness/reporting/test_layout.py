"""Chosen columns, tables with lines for columns, and the overview of a study."""

import io
import re
from dataclasses import replace

import pandas as pd
import pytest
from rich.console import Console, RenderableType

from eadbench.harness.analysis.summary import Summary
from eadbench.harness.errors import UserError
from eadbench.harness.reporting import report
from eadbench.harness.reporting.tables import render
from eadbench.harness.reporting.tables.layout import Layout, chosen_columns
from tests.harness.analysis.test_overview import study
from tests.harness.reporting.sample_summaries import victim
from tests.harness.reporting.table_8 import TABLE_8, summary_of
from tests.sweeps import small

SUMMARY = Summary(spec=small(), victims=[victim("a" * 16)], lines=summary_of(TABLE_8))


def printed(renderable: RenderableType, width: int) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def table(text: str) -> list[list[str]]:
    """The cells of the first Markdown table of a text."""
    lines = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines if ":--" not in line[0]]


@pytest.mark.parametrize(
    ("columns", "head", "last"),
    [
        ("average,asr,l1", "attack | β | κ | ASR | L1", "EAD (L1) | 1e-3 | 0 | 100 | **14.11**"),
        ("l1", "attack | β | κ | best case L1 | average case L1 | worst case L1 | all targets L1", None),
        ("beta, worst, l2, best", "attack | β | worst case L2 | best case L2", "EAD (L1) | 1e-3 | 2.747 | 1.639"),
    ],
)
def test_columns(columns: str, head: str, last: str | None) -> None:
    heads, *lines = table(report.text(SUMMARY, "markdown", Layout.of(columns, transpose=False)))
    assert heads == head.split(" | ")
    assert last is None or lines[-1] == last.split(" | ")


def test_transposed() -> None:
    heads, *lines = table(report.text(SUMMARY, "markdown", Layout.of("average,asr,l2", transpose=True)))
    assert heads == ["", "C&W", "FGM-L1", "EAD (EN)", "EAD (L1)"]
    assert lines == [
        ["β", "", "", "1e-3", "1e-3"],
        ["κ", "0", "", "0", "0"],
        ["ASR", "100", "39", "100", "100"],
        ["L2", "**1.972**", "4.186", "2.001", "2.211"],
    ]


def test_transposed_in_latex_and_in_a_terminal() -> None:
    layout = Layout.of(None, transpose=True)
    latex = report.text(SUMMARY, "latex", layout)
    assert latex.startswith("% needs \\usepackage{booktabs}\n")
    assert r"Attack" not in latex and r" & C\&W & FGM-$L_1$ & EAD (EN) & EAD ($L_1$) \\" in latex
    assert r"$\beta$ &  &  & $10^{-3}$ & $10^{-3}$ \\" in latex
    assert r"worst case: $L_\infty$ & 0.663 & N.A. & \textbf{0.748} & 0.934 \\" in latex
    text = printed(report.terminal(SUMMARY, width=60, layout=layout), 60)
    assert re.search(r"worst case: L∞ +0.663", text) and all(len(line) <= 60 for line in text.splitlines())


@pytest.mark.parametrize("columns", ["speed", "asr,speed", "", ","])
def test_unknown_columns_are_refused(columns: str) -> None:
    with pytest.raises(UserError, match=f"--columns {columns}: must be some of beta, kappa, best, .*, linf, separated"):
        Layout.of(columns, transpose=False)
    with pytest.raises(UserError, match=f"--columns {columns}: must be some of table, victim, label"):
        chosen_columns(render(SUMMARY.lines, "csv", SUMMARY.victims), columns)


def test_columns_of_a_csv() -> None:
    whole = render(SUMMARY.lines, "csv", SUMMARY.victims)
    frame = pd.read_csv(io.StringIO(chosen_columns(whole, "label, case,l1")))
    assert frame.columns.tolist() == ["label", "case", "l1"]
    assert frame["l1"].tolist()[:3] == [13.93, 22.46, 32.3] and len(frame) == 12
    assert chosen_columns(whole, None) == whole


class TestOverview:
    def test_it_comes_first_in_every_format(self) -> None:
        markdown = report.text(study(), "markdown")
        assert markdown.startswith("**Overview: victims and attacks**\n")
        assert table(markdown)[:3] == [
            ["victim", "FGM-L1", "EAD (L1)", "C&W", "EAD (EN)"],
            ["distillation T = 100", "0", "100 · 8", "", ""],
            ["no defence", "39 · 53.5", "100 · 14.11", "100 · 1.972", "100 · 2.001"],
        ]
        latex = report.text(study(), "latex")
        assert latex.startswith("% needs") and latex.count("% needs") == 1
        assert latex.index(r"\caption{Overview: victims and attacks}") < latex.index(r"\caption{Table 8")
        assert r"distillation T = 100 & 0 & 100 $\cdot$ 8 &  &  \\" in latex
        assert "Overview" not in report.text(study(), "csv")

    @pytest.mark.parametrize(("width", "first"), [(120, "victim"), (50, "attack"), (40, "victim")])
    def test_it_fits(self, width: int, first: str) -> None:
        lines = printed(report.terminal(study(), width=width), width).splitlines()
        assert lines[0].startswith("Overview") and first in " ".join(lines[1:3]).split()[:3]
        assert all(len(line) <= width for line in lines[:12])
        assert "100 · 14.11" in "\n".join(lines[:16])

    def test_a_sweep_of_one_victim_has_none(self) -> None:
        one = replace(study(), lines=summary_of(TABLE_8))
        assert not report.text(one, "markdown").startswith("**Overview")
