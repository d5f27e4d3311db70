"""Which lines of the paper's tables a sweep's cells are compared with, and by which ratios."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd
import pytest

from eadbench.harness.analysis.aggregate import FIGURES
from eadbench.harness.labels import attack_label, dataset_label
from eadbench.harness.paper.comparison import COLUMNS, compare, render
from eadbench.harness.paper.published import SETTING, published, same_setting
from eadbench.models import canonical_json
from tests.harness.paper.sample_comparisons import (
    DISTILLATION,
    DISTILLED,
    EAD,
    JOINT,
    NAN,
    TRAINED,
    TRANSFER,
    UNDEFENDED,
    VICTIMS,
    learning,
    line,
    papers_own,
    summary_of,
    victim,
)


def test_the_papers_own_figures_match_every_row_of_its_tables() -> None:
    compared = compare(*papers_own())
    assert list(compared.columns) == list(COLUMNS)
    with resources.files("eadbench.harness.paper").joinpath("tables.csv").open() as file:
        printed = pd.read_csv(file).fillna({"decision_rule": ""})
    keys = ["dataset", "attack", "decision_rule", "case"]
    attacks = zip(compared["attack"], compared["norm"], strict=True)
    compared = compared.assign(
        dataset=compared["dataset"].map(dataset_label),
        attack=[attack_label(attack, norm or None) for attack, norm in attacks],
        decision_rule=compared["decision_rule"].str.upper(),
    )
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
    odd &= (compared["decision_rule"] == "l1") & np.isclose(compared["beta"], 1e-3)
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


@pytest.mark.parametrize(
    ("columns", "tables"),
    [
        ({}, ["2, 3, 8, 14"]),
        ({"case": "best"}, ["8, 14"]),
        ({"case": "worst"}, ["8, 14"]),
        ({"case": "worst", "targets": "random", "targets_per_image": 1}, []),
        ({"case": "best", "targets": "random", "targets_per_image": 3}, []),
        ({"case": "worst", "targets": "random"}, ["8, 14"]),
        ({"targets": "random", "targets_per_image": 3}, ["2, 3, 8, 14"]),
        ({"targets": "file", "targets_per_image": 1}, []),
        ({"targets": "untargeted", "targets_per_image": 1}, []),
        (EAD, ["1, 2, 6, 8, 14"]),
        (EAD | {"beta": 1e-3 * (1 + 1e-9)}, ["1, 2, 6, 8, 14"]),
        (EAD | {"beta": 1.1e-3}, []),
        (EAD | {"beta": 0.0}, ["1"]),
        (EAD | {"beta": NAN}, []),
        (EAD | {"kappa": 5.0}, []),
        (EAD | {"decision_rule": "l1"}, ["2, 3, 6, 8, 14"]),
        (EAD | {"decision_rule": "l1", "dataset": "cifar10"}, ["2, 9", "7"]),
        ({"attack": "cov", "decision_rule": "en", "beta": 1e-2}, ["1"]),
        ({"dataset": "cifar10"}, ["2, 9"]),
        ({"dataset": "digits"}, []),
        (DISTILLATION, ["11"]),
        (DISTILLATION | {"temperature": 10.0}, ["11"]),
        (DISTILLATION | {"temperature": 15.0}, []),
        (DISTILLATION | {"temperature": NAN}, []),
        (JOINT, ["3, 14"]),
        (JOINT | {"defense_parameters": canonical_json({"attacks": learning("cw", "ead-l1")})}, ["3, 14"]),
        (JOINT | {"defense_parameters": canonical_json({"attacks": learning("ead-l1")})}, ["3, 14"]),
        (JOINT | {"defense_parameters": canonical_json({"attacks": learning("ead-l2")})}, []),
        (JOINT | {"defense_parameters": "{}"}, []),
        (JOINT | {"defense": "pgd_training", "defense_parameters": '{"epsilon":0.3}'}, []),
        (TRANSFER | {"kappa": 40.0}, ["13"]),
        (TRANSFER | EAD | {"kappa": 40.0}, ["13"]),
        (TRANSFER | {"attack": "ifgm", "norm": "linf"}, ["13"]),
        (TRANSFER | {"attack": "fgm", "norm": "linf"}, []),
        (TRANSFER | {"evaluated_on": "unknown"}, []),
        (TRANSFER | {"evaluated_on": TRAINED}, []),
        (TRANSFER | {"model": DISTILLED, "evaluated_on": UNDEFENDED}, []),
        (DISTILLATION | {"evaluated_on": "D" * 16}, []),
    ],
)
def test_what_matches_which_tables(columns: dict[str, Any], tables: list[str]) -> None:
    victims = [*VICTIMS, victim(TRAINED, "adversarial_training", attacks=learning("cw"))]
    victims.append(victim("D" * 16, "distillation", temperature=100.0))
    compared = compare(summary_of(line(**columns)), victims)
    assert sorted(compared["table"]) == sorted(tables)


def test_transfer_is_named_and_its_temperature_is_the_tested_victims() -> None:
    [found] = compare(summary_of(line(**TRANSFER, kappa=40.0)), VICTIMS).to_dict("records")
    assert (found["crafted_on"], found["defense"], found["temperature"]) == ("none", "distillation", 100)
    assert (found["defence"], found["victim"]) == ("T = 100", "cw_mnist, no defence → cw_mnist, distillation T = 100")
    assert (found["model"], found["evaluated_on"], found["l1_paper"]) == (UNDEFENDED, DISTILLED, 61.25)


def test_two_victims_of_one_line_of_the_paper_make_two_lines() -> None:
    compared = compare(summary_of(line(), line(model="1" * 16)), [*VICTIMS, victim("1" * 16)])
    assert compared["model"].tolist() == [UNDEFENDED, "1" * 16]
    assert "| C&W | cw_mnist, no defence (111111) |" in render(compared, "markdown")


def test_two_cells_of_one_line_of_the_paper_make_two_lines() -> None:
    """They differ in `max_iterations` alone: each keeps its own figures, under its own label."""
    variants = [line(**EAD, parameters=f'{{"max_iterations":{n}}}', cell=f"{n:016}", l1=float(n)) for n in (2, 40)]
    compared = compare(summary_of(*variants), VICTIMS)
    found = dict(zip(compared["label"], zip(compared["cell"], compared["l1_ours"], strict=True), strict=True))
    assert found == {
        "EAD (EN), max_iterations 2": (f"{2:016}", 2.0),
        "EAD (EN), max_iterations 40": (f"{40:016}", 40.0),
    }
    text = render(compared, "markdown")
    for label, (_, l1) in found.items():
        assert re.search(rf"^\| {re.escape(label)} .* \| {l1:g} \[", text, re.MULTILINE)


def test_lines_come_in_the_papers_order_whatever_ours() -> None:
    summary, victims = papers_own()
    shuffled = summary.sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(compare(shuffled, victims), compare(summary, victims))


def test_nothing_in_common_is_an_empty_comparison() -> None:
    for summary in (summary_of(), summary_of(line(dataset="digits"))):
        compared = compare(summary, [])
        assert list(compared.columns) == list(COLUMNS) and compared.empty
        assert render(compared, "markdown") == ""


def test_published_settings_are_told_apart() -> None:
    paper = published()
    keys = same_setting(paper)
    assert len(paper) == 555 and keys.nunique() == 552
    assert set(paper.columns) == {"table", *SETTING, *FIGURES}
