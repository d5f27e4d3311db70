"""The page ``DIR/report/report.html`` of a results folder."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

from eadbench.dashboards.page import (
    curves,
    detectors,
    environment,
    failures,
    galleries,
    header,
    leaderboard,
    reproduction,
    robust,
    seeds,
    study,
    tables,
    trust,
    victims,
)
from eadbench.dashboards.page.section import size
from eadbench.dashboards.rendering import render
from eadbench.harness.analysis.summary import Summary
from eadbench.harness.results.snapshot import Snapshot
from eadbench.harness.tracking.invocation import REPORT
from eadbench.models import replace_file

LIMIT = 5_000_000
"""Bytes that the file stays below."""

_CURVES = 1_500_000
"""Bytes that curves take at most; galleries take the rest."""
_FRAME = 50_000
"""Bytes for the page around its sections."""
_OPEN = {"overview", "victims", "failures"}
"""The sections of a study of several victims that are not folded at first; the others are long."""


def write(snapshot: Snapshot, summary: Summary) -> Path:
    """Write the page of a sweep's results, and return its path.

    Raises
    ------
    UserError
        A file of the results is damaged.
    """
    path = snapshot.folder.report / REPORT
    replace_file(path, page(snapshot, summary).encode(errors="replace"))
    return path


def page(snapshot: Snapshot, summary: Summary) -> str:
    """Return the page: the results, the machines that computed them, and how to compute them again."""
    overview = study.section(summary)
    first = [
        *(overview, victims.section(snapshot, summary), tables.attacks(summary)),
        *(leaderboard.section(snapshot), robust.section(summary), trust.section(summary), seeds.section(summary)),
        detectors.section(summary),
    ]
    transfers = tables.transfer(summary)
    last = [
        failures.section(snapshot),
        environment.section(snapshot),
        reproduction.spec(summary),
        reproduction.commands(snapshot, summary),
    ]
    room = LIMIT - _FRAME - sum(size(section.body) for section in (*first, transfers, *last) if section)
    drawn = curves.section(summary, room=min(_CURVES, room))
    room -= size(drawn.body) if drawn else 0
    images = galleries.section(snapshot, summary, room=room)
    sections = [section for section in (*first, drawn, transfers, images, *last) if section]
    if overview:
        sections = [replace(section, folded=section.anchor not in _OPEN) for section in sections]
    title = f"Report · {PurePosixPath(str(snapshot.folder.root)).name}"
    html = render("report.html.j2", title=title, header=header.html(snapshot, summary), sections=sections)
    return f"{html}\n"
