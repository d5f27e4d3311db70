"""What the indicators say of a sweep: in sentences, and as a table with a line for each cell and indicator."""

from collections.abc import Mapping, Sequence

import pandas as pd

from eadbench.harness.analysis.indicators import INDICATORS, Finding
from eadbench.harness.labels import Labels

__all__ = ["Findings", "raised_names", "sentences", "table"]

Findings = Mapping[str, Sequence[Finding]]
"""The findings of each cell."""

COLUMNS = ("cell", "victim", "label", "indicator", "title", "value", "threshold", "raised", "figure", "cause", "remedy")
NAMED = 4
"""Cells that a sentence names; it counts the others."""


def raised_names(findings: Findings, cell: str) -> list[str]:
    """Return the names of the indicators that are raised on a cell."""
    return [finding.name for finding in findings.get(cell, ()) if finding.raised]


def table(findings: Findings, lines: pd.DataFrame, labels: Labels) -> pd.DataFrame:
    """Return a line for each cell and indicator whose figure is known, in the order of the summary's lines.

    Parameters
    ----------
    lines
        Lines of the summary, of examples on the victims that they attacked.
    """
    rows = []
    for line in lines.drop_duplicates("cell").to_dict("records"):
        for finding in findings.get(line["cell"], ()):
            indicator = INDICATORS[finding.name]
            if finding.figure is not None:
                setting = line["cell"], labels.victim[line["model"]], labels.setting(line)
                figure = finding.name, indicator.title, finding.figure, indicator.threshold, finding.raised
                rows.append((*setting, *figure, indicator.figure, indicator.cause, indicator.remedy))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def sentences(findings: Findings, lines: pd.DataFrame, labels: Labels, *, said: bool = False) -> list[str]:
    """Return a sentence for each victim and indicator that is raised on it: its figure, cause and remedy.

    One about the victim has one figure, one about attacks those of the first cells. Unless `said`, indicators that
    other warnings say are left out.
    """
    texts = []
    for victim, part in lines.drop_duplicates("cell").groupby("model", sort=False):
        cells = part.to_dict("records")
        for name, indicator in INDICATORS.items():
            found = [
                (line, finding)
                for line in cells
                for finding in findings.get(line["cell"], ())
                if finding.name == name and finding.raised
            ]
            if not found or (indicator.said and not said):
                continue
            if indicator.of_victim:
                where = found[0][1].text
            else:
                named = [f"{labels.setting(line)}: {finding.text}" for line, finding in found[:NAMED]]
                others = len(found) - len(named)
                where = "; ".join([*named, *([f"{others} more cells"] if others else [])])
            label = labels.victim[str(victim)]
            texts.append(f"{label}: {indicator.title} ({where}): {indicator.cause}; {indicator.remedy}")
    return texts
