"""From results to ``DIR/report/report.html``."""

from pathlib import Path

from eadbench.dashboards.page import curves, environment, failing, galleries, lead, reproducing, tables, victims
from eadbench.dashboards.page.evidence import gather
from eadbench.dashboards.page.markup import document, size
from eadbench.harness.reporting.report import Found
from eadbench.harness.results.folder import Results
from eadbench.harness.tracking.invocation import REPORT
from eadbench.models import replace_file

LIMIT = 5_000_000
"""Bytes that the file stays below."""

_CURVES = 1_500_000
"""Bytes for curves, at most; galleries have what all else leaves."""
_SPARE = 50_000
"""Bytes for the page around its sections."""


def write(results: Results, found: Found) -> Path:
    """Write the page of what a sweep found; returns where it is.

    Raises
    ------
    UserError
        A file of the results is damaged.
    """
    path = results.report / REPORT
    replace_file(path, page(results, found).encode(errors="replace"))
    return path


def page(results: Results, found: Found) -> str:
    """The page: what a sweep found, what it was computed from and where, and how to do so again."""
    evidence = gather(results)
    made, attacks, moved = victims.section(found, evidence), tables.attacks(found), tables.transfer(found)
    last = [
        failing.section(results, evidence),
        environment.section(results, evidence),
        reproducing.spec(found),
        reproducing.commands(results, found, evidence),
    ]
    room = LIMIT - _SPARE - sum(size(section.body) for section in (made, attacks, moved, *last) if section)
    drawn = curves.section(found, room=min(_CURVES, room))
    room -= size(drawn.body) if drawn else 0
    images = galleries.section(results, found, evidence.stored, room=room)
    sections = [section for section in (made, attacks, drawn, moved, images, *last) if section]
    return document(found.spec.name, lead.html(found, evidence), sections)
