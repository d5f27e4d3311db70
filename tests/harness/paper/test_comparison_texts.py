"""Comparisons as CSV, Markdown and in a terminal."""

from __future__ import annotations

import io
import re
from importlib import resources

import pandas as pd
import pytest
from rich.console import Console

from eadbench.harness.errors import UserError
from eadbench.harness.numbers import figure_text
from eadbench.harness.paper.comparison import COLUMNS, compare, render, terminal
from eadbench.harness.paper.published import TITLES
from tests.harness.paper.sample_comparisons import NAN, VICTIMS, line, papers_own, summary_of


def test_csv_keeps_every_column_in_full() -> None:
    compared = compare(*papers_own())
    read = pd.read_csv(io.StringIO(render(compared, "csv")), keep_default_na=False)
    assert list(read.columns) == list(COLUMNS)
    assert len(read) == len(compared)
    assert read["l1_ours"].tolist() == [f"{value}" if value == value else "" for value in compared["l1_ours"]]


def test_markdown_has_a_block_for_each_table_that_has_all_its_lines() -> None:
    text = render(compare(*papers_own()), "markdown")
    titles = re.findall(r"^\*\*Table (\d+)", text, re.MULTILINE)
    assert titles == [str(table) for table in TITLES]
    with resources.files("eadbench.harness.paper").joinpath("tables.csv").open() as file:
        printed = pd.read_csv(file)["table"].value_counts()
    for table, block in zip(TITLES, text.split("**Table ")[1:], strict=True):
        rows = [row for row in block.splitlines() if row.startswith("|")]
        assert len(rows) - 2 == printed[table]
        assert {row.count("|") for row in rows} == {rows[0].count("|")}


@pytest.mark.parametrize("table", [1, 5, 6, 8, 9, 10, 11, 12])
def test_blocks_are_in_the_order_of_the_papers_tables(table: int) -> None:
    with resources.files("eadbench.harness.paper").joinpath("tables.csv").open() as file:
        printed = pd.read_csv(file).query(f"table == {table}")
    text = render(compare(*papers_own()), "markdown").split(f"**Table {table}:")[1].split("**Table ")[0]
    rows = [[cell.strip() for cell in row.split("|")] for row in text.splitlines() if row.startswith("|")][2:]
    # L2 with its paper's figure and ratio, L∞ with its own, and the end of the line are the last 7.
    assert [row[-6] for row in rows] == [figure_text(value) for value in printed["l2"]]


def test_markdown_puts_what_does_not_vary_into_the_title() -> None:
    text = render(compare(summary_of(line()), VICTIMS), "markdown", cases=("average",))
    assert text.startswith(
        "**Table 8: attacks on an undefended network, MNIST, no defence, κ = 0, average case, 100 images**\n\n"
        "| attack | ASR: ours | paper | ratio | L1: ours | paper | ratio | L2: ours | paper | ratio "
        "| L∞: ours | paper | ratio |\n"
        "| :-- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |\n"
        "| C&W | 99 [89.1, 108.9] | 100 | 0.99 | 24.71 [22.24, 27.18] | 22.46 | 1.10 "
        "| 1.578 [1.42, 1.735] | 1.972 | 0.80 | 0.617 [0.555, 0.678] | 0.514 | 1.20 |\n"
    )
    assert "Table 14" in text and "Table 3" not in text


def test_cases_are_chosen() -> None:
    compared = compare(*papers_own())
    rows = pd.read_csv(io.StringIO(render(compared, "csv", cases=("worst", "best"))))
    assert set(rows["case"]) == {"best", "worst"}


def test_a_failure_of_ours_or_the_papers_is_a_dash() -> None:
    none = dict.fromkeys(
        ("l1", "l2", "linf", *(f"{m}_{end}" for m in ("l1", "l2", "linf") for end in ("lo", "hi"))), NAN
    )
    found = line(attack="fgm", norm="l1", case="worst", asr=0.0, asr_lo=0.0, asr_hi=0.0) | none
    [row] = re.findall(r"^\| FGM-L1 .*$", render(compare(summary_of(found), VICTIMS), "markdown"), re.MULTILINE)
    assert row == "| FGM-L1 | 0 [0, 0] | 0 | – " + "| – | – | – " * 3 + "|"


@pytest.mark.parametrize(
    ("width", "wanted"),
    [
        (170, r"C&W +99 +\[89.1, 108.9\] +100 +0.99 +24.71 +\[22.24, 27.18\] +22.46 +1.10"),
        (110, r"C&W +99 +100 +0.99 +24.71 +22.46 +1.10"),
        (80, r"C&W +ASR +99 +\[89.1, 108.9\] +100 +0.99 *\n +L1 +24.71 +\[22.24, 27.18\] +22.46 +1.10"),
    ],
)
def test_terminal_shows_what_fits(width: int, wanted: str) -> None:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(terminal(compare(summary_of(line()), VICTIMS), width, cases=["average"]))
    text = console.export_text()
    assert re.search(wanted, text), text
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize(
    ("format", "cases", "message"),
    [
        ("latex", ("best",), "format: must be one of csv, markdown, not 'latex'"),
        ("csv", ("best", "mean"), "cases: must be of best, average, worst, not mean"),
        ("csv", (), "cases: must be of best, average, worst, not none of them"),
    ],
)
def test_what_cannot_be_rendered_is_refused(format: str, cases: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        render(compare(summary_of(line()), VICTIMS), format, cases=cases)
