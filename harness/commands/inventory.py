"""Commands about what there is on disk: list, export."""

from pathlib import Path
from typing import Annotated

import typer

from eadbench.harness.commands.housekeeping import size_text
from eadbench.harness.commands.options import AllowCode, Folder, end_incomplete, local_folder, out, print_place, warn
from eadbench.harness.errors import UserError

__all__ = ["export", "list"]


def list(
    root: Annotated[
        Path, typer.Argument(metavar="[DIR]", parser=local_folder, help="The folder to look in, and below.")
    ] = "results",  # type: ignore[assignment]  # typer parses it
) -> None:
    """List the sweeps in a folder: their state, rows, size and age."""
    from rich.table import Table
    from rich.text import Text

    from eadbench.harness.results.inventory import sweeps

    if not root.is_dir():
        raise UserError(f"{root}: there is no such folder; give one that holds results")
    table = Table("folder", "sweep", "victims", "state", "rows", "size", "changed", box=None)
    for column in table.columns[2], table.columns[4], table.columns[5]:
        column.justify = "right"
    problems = []
    for sweep in sweeps(root):
        problems += [sweep.problem] if sweep.problem else []
        counts = f"{sweep.victims}", sweep.state, f"{sweep.rows:,}", size_text(sweep.size)
        table.add_row(*map(Text, (str(sweep.folder), sweep.name, *counts, sweep.changed)))
    if not table.row_count:
        raise UserError(f"{root}: there are no results in it, nor up to three folders below")
    out.print(table)
    for problem in problems:
        warn(problem)


def export(
    folder: Folder,
    to: Annotated[
        Path, typer.Option(metavar="DIR", parser=local_folder, help="The folder to write rows.csv and images to.")
    ],
    images: Annotated[bool, typer.Option("--images", help="Also write every adversarial image as a PNG.")] = False,
    allow_code: AllowCode = False,
) -> None:
    """Write the rows of a sweep as CSV, and its adversarial images as PNG, for other programs.

    PNG has 8 bits a channel, so that an example may lose its success; the column `quantised` says whether it does. A
    file's metadata has its row. `quantised: true` in the spec searches for levels that keep the success.
    """
    from eadbench.harness.analysis.completeness import missing_rows
    from eadbench.harness.reporting.export import write_images, write_rows
    from eadbench.harness.results.folder import Results
    from eadbench.harness.results.snapshot import Snapshot

    snapshot = Snapshot(Results(folder), allow_code=allow_code)
    count = write_rows(snapshot, to / "rows.csv")
    print_place("Rows", f"{to / 'rows.csv'}: {count:,}")
    if images:
        count, succeeding = write_images(snapshot, to / "images")
        print_place(
            "Images", f"{to / 'images'}/CELL/IMAGE-TARGET.png: {count:,}, of which {succeeding:,} still succeed"
        )
    if (missing := missing_rows(snapshot)) is not None:
        end_incomplete({str(folder): missing})
