"""Commands that read results: report, claims."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eadbench.harness.commands.options import (
    AllowCode,
    Folder,
    Folders,
    end_incomplete,
    err,
    out,
    print_place,
    warn,
    write_text,
)
from eadbench.harness.errors import UserError

if TYPE_CHECKING:
    from eadbench.harness.analysis.summary import Summary
    from eadbench.harness.api import Results


class Format(StrEnum):
    """The formats of a report."""

    table = "table"
    markdown = "markdown"
    csv = "csv"
    latex = "latex"
    html = "html"


class Published(StrEnum):
    """Published figures to compare with."""

    paper = "paper"


def report(
    folder: Folder,
    format: Annotated[
        Format, typer.Option(help="table prints to the terminal; html writes one page, DIR/report/report.html.")
    ] = Format.table,
    compare: Annotated[
        Published | None,
        typer.Option(
            help="Print the paper's figures beside the results, and draw them with --figures; html always shows them."
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="CONDITION", help="Lines to show: 'attack == \"ead\" and beta < 0.1'; columns as in the CSV."
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Order of the lines: l1, or -asr for descending; of the average case."),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Columns to show: beta, kappa; best, average, worst, all_targets; asr, l1, l2, linf. "
            "With csv, names of its columns.",
        ),
    ] = None,
    transpose: Annotated[bool, typer.Option("--transpose", help="Make attacks columns and figures lines.")] = False,
    quantised: Annotated[
        bool,
        typer.Option("--quantised", help="Also print the figures after rounding to 8 bits; a csv has them."),
    ] = False,
    figures: Annotated[bool, typer.Option("--figures", help="Also draw curves and galleries into DIR/report.")] = False,
    allow_code: AllowCode = False,
) -> None:
    """Print the tables of a sweep."""
    from eadbench.harness.analysis.selection import selected
    from eadbench.harness.api import Results
    from eadbench.harness.reporting import report as reports
    from eadbench.harness.reporting.tables.layout import Layout, chosen_columns

    results = Results(folder, allow_code=allow_code)
    if format is Format.html:
        if only or sort or columns or transpose:
            raise UserError("--format html: shows every line and column; choose them in `eadbench dashboard`")
        print_place("Report", _write(results))
    elif compare:
        if columns or transpose:
            raise UserError("--compare paper: has columns of its own; leave out --columns and --transpose")
        if format is Format.latex:
            raise UserError("--format latex: must be table, markdown or csv with --compare")
        _print_comparison(selected(results.summary, only=only, sort=sort), format)
    elif format is Format.csv:
        if transpose:
            raise UserError("--transpose: goes with --format table, markdown or latex; a csv has a line per attack")
        write_text(chosen_columns(reports.text(selected(results.summary, only=only, sort=sort), "csv"), columns))
    else:
        layout = Layout.of(columns, transpose=transpose)
        shown = selected(results.summary, only=only, sort=sort)
        if format is Format.table:
            out.print(reports.terminal(shown, width=out.width, layout=layout, quantised=quantised))
        else:
            write_text(reports.text(shown, format.value, layout, quantised=quantised))
    if figures:
        with err.status("drawing"):
            paths = reports.draw(results.snapshot, results.summary, paper=compare is not None)
        print_place("Figures", f"{results.snapshot.folder.report}/*.svg, .png: {len(paths)} files")
    if results.summary.missing:
        end_incomplete({str(folder): results.summary.missing})


def _print_comparison(summary: "Summary", format: Format) -> None:
    """Print the results beside the paper's figures."""
    from eadbench.harness.paper import comparison
    from eadbench.harness.reporting import report as reports

    lines = reports.compared(summary)
    if format is Format.table:
        out.print(comparison.terminal(lines, out.width))
    else:
        write_text(comparison.render(lines, format.value))


def _write(results: "Results") -> Path:
    """Write the report as one page, and return its path."""
    from eadbench.harness.api import write_report

    with err.status("writing the report"):
        return write_report(results)


def claims(
    folders: Folders,
    format: Annotated[Format, typer.Option(help="table prints to the terminal; or markdown.")] = Format.table,
    allow_code: AllowCode = False,
) -> None:
    """Test the paper's claims on the results of sweeps: each holds, fails, or lacks data."""
    from eadbench.harness.analysis import summary as summaries
    from eadbench.harness.api import Results
    from eadbench.harness.paper import claims as paper

    pool = summaries.pool([Results(folder, allow_code=allow_code).snapshot for folder in folders])
    verdicts = paper.check(pool.rows, pool.victims, tested=pool.tested)
    if format is Format.table:
        out.print(paper.terminal(verdicts))
    elif format is Format.markdown:
        write_text(paper.render(verdicts))
    else:
        raise UserError(f"--format {format.value}: must be table or markdown")
    if pool.mixture:
        warn(pool.mixture)
    if pool.missing:
        end_incomplete(pool.missing)
