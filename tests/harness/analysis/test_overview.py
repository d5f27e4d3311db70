"""The overview of several victims: the strongest setting of each attack on each victim."""

import math

import pandas as pd

from eadbench.harness.analysis.overview import entry_text, meaning, overview
from eadbench.harness.analysis.summary import Summary
from tests.harness.reporting.sample_summaries import victim
from tests.harness.reporting.table_8 import NAN, TABLE_8, Figures, summary_of
from tests.sweeps import small

FIRST, SECOND = "a" * 16, "b" * 16
OVER_BETA: dict[tuple[str, str, float, float], Figures] = {
    ("fgm", "l1", NAN, NAN): [(0, NAN, NAN, NAN)] * 3,
    ("ead", "l1", 1e-3, 0.0): [(100, 9, 1, 0.5)] * 3,
    ("ead", "l1", 1e-2, 0.0): [(100, 8, 2, 0.6)] * 3,
    ("ead", "l1", 1e-1, 0.0): [(90, 1, 1, 0.6)] * 3,
}
"""EAD succeeds on every image at two β, and is nearer in L1 at the greater."""


def study() -> Summary:
    second = summary_of(
        OVER_BETA,
        model=SECOND,
        evaluated_on=SECOND,
        defense="distillation",
        defense_parameters='{"temperature":100.0}',
        temperature=100.0,
    )
    second["cell"] = "f" + second["cell"].str[1:]
    moved = summary_of(TABLE_8, evaluated_on=SECOND)  # a transfer is no entry
    victims = [victim(SECOND, "distillation", temperature=100.0), victim(FIRST)]
    lines = pd.concat([summary_of(TABLE_8), moved, second], ignore_index=True)
    return Summary(spec=small(), victims=victims, lines=lines)


def test_an_entry_is_the_strongest_setting_of_an_attack_on_a_victim() -> None:
    entries = overview(study())
    assert entries is not None
    columns = ["victim", "label", "metric", "asr", "beta", "settings"]
    lines = [[None if pd.isna(value) else value for value in line] for line in entries[columns].to_numpy().tolist()]
    assert lines == [  # the victims in the order of the spec
        ["distillation T = 100", "FGM-L1", "l1", 0.0, None, 1],
        ["distillation T = 100", "EAD (L1)", "l1", 100.0, 1e-2, 3],
        ["no defence", "C&W", "l2", 100.0, None, 1],
        ["no defence", "FGM-L1", "l1", 39.0, None, 1],
        ["no defence", "EAD (EN)", "l2", 100.0, 1e-3, 1],
        ["no defence", "EAD (L1)", "l1", 100.0, 1e-3, 1],
    ]
    assert entries["distance"].fillna(-1).tolist() == [-1, 8, 1.972, 53.5, 2.001, 14.11]
    assert meaning(entries) == (
        "ASR in percent · mean distance of the successes in the attack's norm (L1: FGM-L1, EAD (L1); L2: C&W, EAD (EN))"
        ", average case. At the β and κ with the highest ASR on the victim, and of these with the least distance."
    )


def test_one_victim_needs_no_overview() -> None:
    lines = pd.concat([summary_of(TABLE_8), summary_of(TABLE_8, evaluated_on=SECOND)], ignore_index=True)
    assert overview(Summary(spec=small(), victims=[victim(FIRST)], lines=lines)) is None


def test_an_entry_without_a_success_has_no_distance() -> None:
    assert entry_text(0.0, math.nan) == "0"
    assert entry_text(99.96, 1.6391) == "> 99.9 · 1.639"
