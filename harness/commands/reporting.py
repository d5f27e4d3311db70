"""Commands that read results: report, claims."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from eadbench.harness.commands.options import Folder, Folders, err, out, print_place
from eadbench.harness.errors import UserError
from eadbench.harness.reporting import report as reports
from eadbench.harness.results.folder import Results


class Format(StrEnum):
    """How a table is written."""

    table = "table"
    markdown = "markdown"
    csv = "csv"
    latex = "latex"
    html = "html"


class Published(StrEnum):
    """What figures are compared with."""

    paper = "paper"


def report(
    folder: Folder,
    format: Annotated[
        Format, typer.Option(help="For the terminal, as text, or as one page for a browser, DIR/report/report.html.")
    ] = Format.table,
    compare: Annotated[
        Published | None, typer.Option(help="Put the paper's own figures beside them; html always has them.")
    ] = None,
    figures: Annotated[bool, typer.Option("--figures", help="Draw curves and galleries into DIR/report too.")] = False,
) -> None:
    """Print the tables of a sweep, from its rows."""
    results = Results(folder)
    found = reports.read(results)
    if format is Format.html:
        print_place("Report", write_page(results, found))
    elif compare:
        if format is Format.latex:
            raise UserError("--format latex: must be table, markdown or csv with --compare")
        from eadbench.harness.paper import comparison

        compared = reports.compared(found)
        if format is Format.table:
            out.print(comparison.terminal(compared, out.width))
        else:
            sys.stdout.write(comparison.render(compared, format.value))
    elif format is Format.table:
        out.print(reports.terminal(found, width=out.width))
    else:
        sys.stdout.write(reports.text(found, format.value))
    if figures:
        with err.status("drawing"):
            drawn = reports.draw(results, found)
        print_place("Figures", f"{results.report}/*.svg, .png: {len(drawn)} files")


def write_page(results: Results, found: reports.Found) -> Path:
    """Write what a sweep found as one page; returns where it is."""
    from eadbench.dashboards import page

    with err.status("writing the report"):
        return page.write(results, found)


def claims(
    folders: Folders,
    format: Annotated[Format, typer.Option(help="For the terminal, or as markdown.")] = Format.table,
) -> None:
    """Test what the paper says of its results on those of sweeps: holds, fails, or not enough data."""
    from eadbench.harness.paper import claims as paper

    rows, victims, seed = reports.together([Results(folder) for folder in folders])
    checked = paper.check(rows, victims, seed=seed)
    if format is Format.table:
        out.print(paper.terminal(checked))
    elif format is Format.markdown:
        sys.stdout.write(paper.render(checked))
    else:
        raise UserError(f"--format {format.value}: must be table or markdown")
