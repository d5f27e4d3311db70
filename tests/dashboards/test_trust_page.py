"""The explorer's page Trust without a browser."""

from pathlib import Path

from eadbench.harness.analysis import trust
from eadbench.harness.results.folder import Results
from eadbench.harness.results.lock import attested, write_lock
from eadbench.harness.results.snapshot import Snapshot
from tests.dashboards.explorer import Visit
from tests.dashboards.reading import summary_of


def test_it_shows_what_is_raised_and_then_every_figure(visit: Visit, folders: Path) -> None:
    summary = summary_of(folders / "first")
    table = trust.table(summary.findings, summary.own, summary.labels)
    raised = table[table["raised"]]
    assert 0 < len(raised) < len(table)
    test = visit(["first"], "trust")
    cells = raised["cell"].nunique()
    assert [warning.value for warning in test.warning] == [f"Indicators are raised on {cells} of 12 cells."]
    [shown] = test.dataframe
    assert shown.value["indicator"].tolist() == raised["title"].tolist()
    assert shown.value["figure"].tolist() == raised["value"].tolist()
    sentences = trust.sentences(summary.findings, summary.own, summary.labels, said=True)
    assert sum(markdown.value.startswith("- ") for markdown in test.markdown) == len(sentences)
    test.toggle(key="figures").set_value(True).run()
    assert len(test.dataframe[0].value) == len(table)
    assert [button.label for button in test.download_button] == ["CSV"]


def test_it_shows_the_root_of_a_sweep_that_has_ended(visit: Visit, folders: Path) -> None:
    results = Results(folders / "second")
    found = attested(Snapshot(results))
    write_lock(results, found)
    texts = [markdown.value for markdown in visit(["second"], "trust").markdown]
    assert any(found.lock.root in text for text in texts)
