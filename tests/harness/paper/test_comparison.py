"""``eadbench.harness.paper.comparison``: the paper's figures found again, what matches which line, and every layout."""

from __future__ import annotations

import io
import math
import re
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from eadbench.harness.analysis.aggregate import COLUMNS as SUMMARY_COLUMNS
from eadbench.harness.analysis.aggregate import FIGURES
from eadbench.harness.errors import UserError
from eadbench.harness.labels import figure_text
from eadbench.harness.paper.comparison import COLUMNS, compare, render, terminal
from eadbench.harness.paper.published import SETTING, TITLES, published, same_setting
from eadbench.harness.plan.grid import Victim

NAN = math.nan
UNDEFENDED, DISTILLED, TRAINED = "0" * 16, "d" * 16, "a" * 16
NUMBERS = ("temperature", "beta", "kappa", *FIGURES, *(f"{figure}_{end}" for figure in FIGURES for end in ("lo", "hi")))


def victim(digest: str, defense: str = "none", temperature: float | None = None) -> Victim:
    return Victim(
        digest=digest,
        arch="cw_mnist",
        defense=defense,
        temperature=temperature,
        trained_on="mnist",
        accuracy=None,
        images=(),
        labels=(),
    )


VICTIMS = [victim(UNDEFENDED), victim(DISTILLED, "distillation", 100.0)]


def line(**columns: Any) -> dict[str, Any]:
    """C&W's average case on an undefended MNIST network, unless said otherwise."""
    setting = {"dataset": "MNIST", "defense": "none", "temperature": NAN, "attack": "C&W", "decision_rule": ""}
    setting |= {"beta": NAN, "kappa": 0.0, "case": "average", "model": UNDEFENDED, "arch": "cw_mnist", "images": 100}
    figures = {"asr": 99.0, "l1": 24.706, "l2": 1.5776, "linf": 0.6168}
    ends = {f"{name}_lo": value * 0.9 for name, value in figures.items()}
    ends |= {f"{name}_hi": value * 1.1 for name, value in figures.items()}
    found = setting | figures | ends | columns
    return {"evaluated_on": found["model"], "cell": "c" * 16, "table": ""} | found


def summary_of(*lines: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(lines, columns=list(SUMMARY_COLUMNS)).astype(dict.fromkeys(NUMBERS, "float64"))


def papers_own() -> tuple[pd.DataFrame, list[Victim]]:
    """The paper's figures as a summary of ours, each cell once; its victims."""
    names: dict[tuple[str, str, float], Victim] = {}
    lines = []
    paper = published()
    # Of the two figures for EAD (L1) on CIFAR10, those of tables 2 and 9.
    once = paper.assign(key=same_setting(paper), last=paper["table"] == "7").sort_values("last", kind="stable")
    once = once.drop_duplicates("key").drop(columns=["key", "last"])
    for index, row in enumerate(once.to_dict("records")):
        dataset, label, temperature = row["dataset"], row["defense"], row["temperature"]
        transfer = label.startswith("transfer")
        crafted = ("none", NAN) if transfer else (label, temperature)
        tested = ("distillation", temperature) if transfer else crafted
        digests = []
        for defense, at in (crafted, tested):
            at = None if math.isnan(at) else at
            digest = f"{dataset}/{defense}/{at}"
            names[digest] = victim(digest, defense, at)
            digests.append(digest)
        ours = {str(name): value for name, value in row.items() if name != "table"}
        ours |= {"defense": crafted[0], "temperature": crafted[1], "cell": str(index)}
        ours |= {f"{figure}_{end}": NAN for figure in FIGURES for end in ("lo", "hi")}
        lines.append(line(**ours, model=digests[0], evaluated_on=digests[1]))
    return summary_of(*lines), list(names.values())


def test_the_papers_own_figures_match_every_row_of_its_tables() -> None:
    compared = compare(*papers_own())
    assert list(compared.columns) == list(COLUMNS)
    with resources.files("eadbench.harness.paper").joinpath("tables.csv").open() as file:
        printed = pd.read_csv(file)
    keys = ["dataset", "attack", "case"]
    found = compared.assign(table=compared["table"].str.split(", ")).explode("table").astype({"table": "int64"})
    renamed = {f"{figure}_paper": figure for figure in FIGURES}
    found = found[["table", *keys, "temperature", "beta", *renamed]].rename(columns=renamed)
    order = ["table", *keys, "temperature", "beta", *FIGURES]
    pd.testing.assert_frame_equal(
        found.sort_values(order, ignore_index=True)[order], printed.sort_values(order, ignore_index=True)[order]
    )


def test_the_papers_own_figures_have_ratio_1() -> None:
    compared = compare(*papers_own())
    odd = compared["table"] == "7"
    odd &= (compared["decision_rule"] == "L1") & np.isclose(compared["beta"], 1e-3)
    assert odd.sum() == 3
    for figure in FIGURES:
        ratio = compared[f"{figure}_ratio"]
        unknown = compared[f"{figure}_paper"].isna() | (compared[f"{figure}_paper"] == 0)
        assert (ratio.isna() == unknown).all()
        assert (ratio[~unknown & ~odd] == 1).all()
        assert ratio[odd].between(0.98, 1.02).all()


def test_figures_intervals_and_ratios() -> None:
    [found] = compare(summary_of(line()), VICTIMS).to_dict("records")
    assert found["table"] == "2, 3, 8, 14"
    assert [found[f"l1_{part}"] for part in ("ours", "ours_lo", "ours_hi", "paper", "ratio")] == pytest.approx(
        [24.706, 22.2354, 27.1766, 22.46, 1.1]
    )
    assert [found[f"{figure}_ratio"] for figure in FIGURES] == pytest.approx([0.99, 1.1, 0.8, 1.2])
    assert (found["model"], found["cell"], found["images"]) == (UNDEFENDED, "c" * 16, 100)


TRANSFER = {"evaluated_on": DISTILLED}
JOINT = {"model": TRAINED, "defense": "adversarial_training: EAD-L1 + C&W"}
DISTILLATION = {"model": DISTILLED, "defense": "distillation", "temperature": 100.0}
EAD = {"attack": "EAD", "decision_rule": "EN", "beta": 1e-3}


@pytest.mark.parametrize(
    ("columns", "tables"),
    [
        ({}, ["2, 3, 8, 14"]),
        ({"case": "best"}, ["8, 14"]),
        (EAD, ["1, 2, 6, 8, 14"]),
        (EAD | {"beta": 1e-3 * (1 + 1e-9)}, ["1, 2, 6, 8, 14"]),
        (EAD | {"beta": 1.1e-3}, []),
        (EAD | {"beta": 0.0}, ["1"]),
        (EAD | {"beta": NAN}, []),
        (EAD | {"kappa": 5.0}, []),
        (EAD | {"decision_rule": "L1"}, ["2, 3, 6, 8, 14"]),
        (EAD | {"decision_rule": "L1", "dataset": "CIFAR10"}, ["2, 9", "7"]),
        ({"attack": "COV", "decision_rule": "EN", "beta": 1e-2}, ["1"]),
        ({"dataset": "CIFAR10"}, ["2, 9"]),
        ({"dataset": "digits"}, []),
        (DISTILLATION, ["11"]),
        (DISTILLATION | {"temperature": 10.0}, ["11"]),
        (DISTILLATION | {"temperature": 15.0}, []),
        (DISTILLATION | {"temperature": NAN}, []),
        (JOINT, ["3, 14"]),
        (JOINT | {"defense": "adversarial_training: C&W + EAD-L1"}, ["3, 14"]),
        (JOINT | {"defense": "adversarial_training: EAD-L1"}, ["3, 14"]),
        (JOINT | {"defense": "adversarial_training"}, []),
        (JOINT | {"defense": "pgd_training: linf 0.3"}, []),
        (TRANSFER | {"kappa": 40.0}, ["13"]),
        (TRANSFER | EAD | {"kappa": 40.0}, ["13"]),
        (TRANSFER | {"attack": "I-FGM-Linf"}, ["13"]),
        (TRANSFER | {"attack": "FGM-Linf"}, []),
        (TRANSFER | {"evaluated_on": "unknown"}, []),
        (TRANSFER | {"evaluated_on": TRAINED}, []),
        (TRANSFER | {"model": DISTILLED, "evaluated_on": UNDEFENDED}, []),
        (DISTILLATION | {"evaluated_on": "D" * 16}, []),
    ],
)
def test_what_matches_which_tables(columns: dict[str, Any], tables: list[str]) -> None:
    victims = [*VICTIMS, victim(TRAINED, "adversarial_training: C&W"), victim("D" * 16, "distillation", 100.0)]
    compared = compare(summary_of(line(**columns)), victims)
    assert sorted(compared["table"]) == sorted(tables)


def test_transfer_is_named_and_its_temperature_is_the_tested_victims() -> None:
    [found] = compare(summary_of(line(**TRANSFER, kappa=40.0)), VICTIMS).to_dict("records")
    assert (found["defense"], found["temperature"]) == ("transfer: none -> distillation", 100)
    assert (found["model"], found["evaluated_on"], found["l1_paper"]) == (UNDEFENDED, DISTILLED, 61.25)


def test_two_victims_of_one_line_of_the_paper_make_two_lines() -> None:
    compared = compare(summary_of(line(), line(model="1" * 16)), [*VICTIMS, victim("1" * 16)])
    assert compared["model"].tolist() == [UNDEFENDED, "1" * 16]
    assert "| C&W | 11111111 |" in render(compared, "markdown")


def test_lines_come_in_the_papers_order_whatever_ours() -> None:
    summary, victims = papers_own()
    shuffled = summary.sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(compare(shuffled, victims), compare(summary, victims))


def test_nothing_in_common_is_an_empty_comparison() -> None:
    for summary in (summary_of(), summary_of(line(dataset="digits"))):
        compared = compare(summary, [])
        assert list(compared.columns) == list(COLUMNS) and compared.empty
        assert render(compared, "markdown") == ""


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
    found = line(attack="FGM-L1", case="worst", asr=0.0, asr_lo=0.0, asr_hi=0.0) | none
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


def test_published_settings_are_told_apart() -> None:
    paper = published()
    keys = same_setting(paper)
    assert len(paper) == 555 and keys.nunique() == 552
    assert set(paper.columns) == {"table", *SETTING, *FIGURES}
