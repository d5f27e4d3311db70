"""The command that checks the files of results: verify."""

from typing import Annotated

import typer
from rich.markup import escape

from eadbench.harness.commands.options import Folder, err, out, warn
from eadbench.harness.errors import DamagedResults
from eadbench.harness.messages import printable


def verify(
    folder: Folder,
    repair: Annotated[
        bool, typer.Option("--repair", help="Move damaged files to DIR/damaged; `run` makes them anew.")
    ] = False,
) -> None:
    """Check every file of a sweep: the rows and images against their checksums, the models against their records."""
    from eadbench.harness.results import verify as checks
    from eadbench.harness.results.folder import Results
    from eadbench.harness.results.owner import Owner

    results = Results(folder)
    results.spec()  # refuses a folder without results, before it is claimed
    count, left = 0, False
    with Owner(folder, warn) as owner:
        if repair:
            owner.claim()
        while damages := list(checks.damages(results)):
            count += len(damages)
            for damage in damages:
                err.print(escape(printable(damage.problem)), soft_wrap=True, highlight=False)
            moved = sum(checks.set_aside(results, damage) for damage in damages) if repair else 0
            left = not moved
            if left:
                break
    if not count:
        out.print("Every file is as it was written.")
    elif not left:
        place = escape(f"{folder}/{checks.DAMAGED}")
        out.print(f"Damaged files are in {place} now; run the sweep again to make them anew.", soft_wrap=True)
    else:
        raise typer.Exit(DamagedResults.exit_code)
