"""Tables in a terminal: their layout by width, and what is marked as the best."""

from __future__ import annotations

import re
import textwrap

import pandas as pd
import pytest

from eadbench.harness.numbers import NO_VALUE
from eadbench.harness.reporting.tables import render
from tests.harness.reporting.table_8 import NAN, TABLE_8, TITLE, shown, summary_of

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


def spelled(expected: str, width: int) -> str:
    """Put in the title, and the en dash that a linter would take for a hyphen."""
    return expected.replace("TITLE", textwrap.fill(TITLE, width)).replace("~", NO_VALUE)


def test_terminal_of_80_columns_puts_the_cases_below_each_other() -> None:
    assert shown(summary_of(TABLE_8), 80) == spelled(TERMINAL_80, 80)


def test_terminal_of_110_columns_puts_the_cases_side_by_side() -> None:
    assert shown(summary_of(TABLE_8), 110) == spelled(TERMINAL_110, 110)


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


def test_terminal_takes_names_literally() -> None:
    assert "[red]x" in shown(summary_of({("[red]x", "", NAN, NAN): TABLE_8["cw", "", NAN, 0.0]}), 120)


def test_one_table_per_victim_and_data_set() -> None:
    first = summary_of(TABLE_8)
    distilled = summary_of(
        TABLE_8,
        table="hardened",
        defense="distillation",
        defense_parameters='{"temperature":100.0}',
        temperature=100.0,
        model="b" * 16,
        evaluated_on="b" * 16,
    )
    moved = summary_of(TABLE_8, evaluated_on="b" * 16)
    moved.loc[moved["attack"] == "cw", "images"] = 900
    text = render(pd.concat([first, distilled, moved], ignore_index=True), "markdown")
    assert [line.strip("*") for line in text.splitlines() if line.startswith("**")] == [
        TITLE,
        "hardened: MNIST, cw_mnist, distillation T = 100, 1000 images, all 9 targets each, victim bbbbbbbbbbbbbbbb",
        "Table 8: MNIST, cw_mnist, no defence, 900 to 1000 images, all 9 targets each, "
        "crafted on aaaaaaaaaaaaaaaa, tested on cw_mnist, distillation T = 100 (bbbbbbbbbbbbbbbb)",
    ]


def test_a_single_line_has_no_best() -> None:
    assert "**7" not in render(summary_of({("ead", "l1", NAN, NAN): TABLE_8["ead", "l1", 1e-3, 0.0]}), "markdown")


def test_nothing_is_best_where_nothing_succeeds() -> None:
    failed = {
        ("fgm", "l1", NAN, NAN): [(0.0, NAN, NAN, NAN)] * 3,
        ("fgm", "l2", NAN, NAN): [(0.0, NAN, NAN, NAN)] * 3,
    }
    assert render(summary_of(failed), "markdown").count("**") == 2  # the title


def test_the_least_is_marked_before_figures_are_rounded() -> None:
    figures = [(100.0, 1.2341, 1.0, 1.0)] * 3
    rivals = {("ead", "en", NAN, NAN): figures, ("ead", "l1", NAN, NAN): [(100.0, 1.2339, 2.0, 2.0)] * 3}
    assert render(summary_of(rivals), "markdown").count("**1.234**") == 4  # the lower line, in every case
