"""The commands that compare attacks and victims over sweeps: leaderboard, robust."""

from collections.abc import Sequence
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated

import typer

from eadbench.harness.commands.options import AllowCode, Folders, end_incomplete, out, warn, write_text
from eadbench.harness.errors import UserError
from eadbench.harness.messages import shown

if TYPE_CHECKING:
    from eadbench.harness.results.snapshot import Snapshot


class Format(StrEnum):
    """The formats of robust accuracy."""

    table = "table"
    markdown = "markdown"
    csv = "csv"
    latex = "latex"


class BoardFormat(StrEnum):
    """The formats of a leaderboard."""

    table = "table"
    markdown = "markdown"
    csv = "csv"
    latex = "latex"
    html = "html"


class Norm(StrEnum):
    """The norms of a distance."""

    l0 = "l0"
    l1 = "l1"
    l2 = "l2"
    linf = "linf"


def leaderboard(
    folders: Folders,
    norm: Annotated[
        list[Norm] | None, typer.Option(help="Rank in this norm; those that the attacks minimise unless given.")
    ] = None,
    all_attacks: Annotated[
        bool, typer.Option("--all-attacks", help="Rank attacks that minimise another norm too.")
    ] = False,
    format: Annotated[
        BoardFormat, typer.Option(help="table prints to the terminal; html, a page with curves, to redirect to a file.")
    ] = BoardFormat.table,
    allow_code: AllowCode = False,
) -> None:
    """Rank the attacks of sweeps by how near they come to the least distances that any of them finds."""
    from eadbench.harness.analysis.leaderboard import boards
    from eadbench.harness.api import Results
    from eadbench.harness.concluding import leaderboard_page
    from eadbench.harness.reporting import leaderboard as reports

    snapshots = [Results(folder, allow_code=allow_code).snapshot for folder in folders]
    ranked = boards(snapshots, norms=[each.value for each in norm or ()], all_attacks=all_attacks)
    if format is BoardFormat.table:
        out.print(reports.terminal(ranked, width=out.width))
    elif format is BoardFormat.html:
        write_text(leaderboard_page(ranked))
    else:
        write_text(reports.render(ranked, format.value))
    _print_doubts(snapshots)


def robust(
    folders: Folders,
    norm: Annotated[Norm | None, typer.Option(help="Only in this norm.")] = None,
    epsilon: Annotated[
        str | None,
        typer.Option(metavar="NUMBER", help="At this ε, such as 0.3 or 8/255; those of the sweeps unless given."),
    ] = None,
    format: Annotated[Format, typer.Option(help="table prints to the terminal.")] = Format.table,
    allow_code: AllowCode = False,
) -> None:
    """Print robust accuracy at a fixed ε, by attack and by the worst case of all attacks of some sweeps."""
    from eadbench.harness.analysis.robust import robustness
    from eadbench.harness.api import Results
    from eadbench.harness.reporting import robust as reports
    from eadbench.harness.reporting.report import NEEDS

    snapshots = [Results(folder, allow_code=allow_code).snapshot for folder in folders]
    tables = robustness(snapshots, norm=norm.value if norm else None, epsilon=_number(epsilon))
    if format is Format.table:
        out.print(reports.terminal(tables))
    else:
        write_text((NEEDS if format is Format.latex else "") + reports.render(tables, format.value))
    _print_doubts(snapshots)


def _print_doubts(snapshots: "Sequence[Snapshot]") -> None:
    """Warn of rows that were computed differently, and exit as for incomplete results if rows are missing."""
    from eadbench.harness.analysis.completeness import missing_rows
    from eadbench.harness.parquet.notes import mixture

    if (mixed := mixture([note for each in snapshots for note in each.stored_rows.notes])) is not None:
        warn(mixed)
    missing = {str(each.folder.root): text for each in snapshots if (text := missing_rows(each)) is not None}
    if missing:
        end_incomplete(missing)


def _number(text: str | None) -> float | None:
    """Return a positive number or fraction."""
    try:
        value = None if text is None else float(Fraction(text.strip()))
    except (ValueError, ZeroDivisionError, OverflowError):
        value = 0.0
    if value is not None and not value > 0:
        raise UserError(f"--epsilon: must be a positive number or fraction, such as 0.3 or 8/255; got {shown(text)}")
    return value
