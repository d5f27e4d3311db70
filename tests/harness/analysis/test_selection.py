"""Which lines a report shows, and in which order."""

import pytest

from eadbench.harness.analysis.selection import selected
from eadbench.harness.analysis.summary import Summary
from eadbench.harness.errors import UserError
from tests.harness.reporting.sample_summaries import victim
from tests.harness.reporting.table_8 import TABLE_8, summary_of
from tests.sweeps import small

SUMMARY = Summary(spec=small(), victims=[victim("a" * 16)], lines=summary_of(TABLE_8))


@pytest.mark.parametrize(
    ("only", "sort", "attacks"),
    [
        (None, None, ["C&W", "FGM-L1", "EAD (EN)", "EAD (L1)"]),
        (None, "l1", ["EAD (L1)", "EAD (EN)", "C&W", "FGM-L1"]),
        (None, "-asr", ["C&W", "EAD (EN)", "EAD (L1)", "FGM-L1"]),
        (None, "beta", ["EAD (EN)", "EAD (L1)", "C&W", "FGM-L1"]),
        ("attack == 'ead'", "-l1", ["EAD (EN)", "EAD (L1)"]),
        ("attack == 'EAD' and beta < 0.1", None, ["EAD (EN)", "EAD (L1)"]),
        ("attack in ['C&W', 'FGM']", None, ["C&W", "FGM-L1"]),
        ("asr == 100 and l2 < 2.1", None, ["C&W", "EAD (EN)"]),
        ("label in ['FGM-L1', 'EAD (L1)']", None, ["FGM-L1", "EAD (L1)"]),
        ("not (beta < 0.1)", None, ["C&W", "FGM-L1"]),
    ],
)
def test_selected(only: str | None, sort: str | None, attacks: list[str]) -> None:
    summary = selected(SUMMARY, only=only, sort=sort)
    labels = summary.lines["series"].map(SUMMARY.labels.series)
    assert labels[summary.lines["case"] == "worst"].tolist() == attacks
    assert len(summary.lines) == 3 * len(attacks)


@pytest.mark.parametrize(
    ("only", "sort", "message"),
    [
        ("betta < 1", None, "--only betta < 1: name 'betta' is not defined; columns are table, dataset, arch"),
        ("beta <", None, "--only beta <: must be a condition such as 'attack == \"ead\" and beta < 0.1' .SyntaxError"),
        ("beta", None, "--only beta: must be a condition, such as"),
        ("attack < 3", None, "--only attack < 3: must be a condition such as"),
        ("beta > 5", None, "--only beta > 5: holds for no line"),
        (None, "speed", "--sort speed: must be one of the columns table, dataset, arch"),
    ],
)
def test_refused(only: str | None, sort: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        selected(SUMMARY, only=only, sort=sort)
