"""Commands that keep results folders in order: merge, clean, cancel."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from eadbench.harness.commands.options import Folder, Folders, local_folder, out, print_place, warn
from eadbench.harness.errors import UserError

__all__ = ["cancel", "clean", "merge"]

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do none of it.")]
UNITS = ("B", "kB", "MB", "GB", "TB")


def merge(
    folders: Folders,
    to: Annotated[
        Path,
        typer.Option(metavar="DIR", parser=local_folder, help="The new folder; it must be empty, or not be there."),
    ],
    dry_run: DryRun = False,
) -> None:
    """Join the sweeps of folders, whose specs differ in victims and attacks alone, in a new folder."""
    from eadbench.harness.results.folder import Results
    from eadbench.harness.results.lock import attested, write_lock
    from eadbench.harness.results.merging import merged
    from eadbench.harness.results.snapshot import Snapshot

    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UserError(f"--to {to}: must be an empty folder, or not be there")
    joined = merged([Results(folder) for folder in folders])
    parts = sum(name.parts[0] == "examples" for name in joined.files)
    models = sum(name.name == "recipe.json" for name in joined.files)
    what = f"{parts:,} parts of rows and {models:,} models of {len(joined.victims):,} victims"
    if dry_run:
        out.print(escape(f"{what} would be written to {to}"), soft_wrap=True, highlight=False)
        return
    joined.write(Results(to))
    write_lock(Results(to), attested(Snapshot(Results(to))))
    print_place("Merged", f"{to}: {what}")
    out.print(escape(f"`eadbench run {to}/spec.yaml --results {to}` runs what they lack"), soft_wrap=True)


def clean(folder: Folder, dry_run: DryRun = False) -> None:
    """Remove the models, parts and leftovers of a folder that its spec does not need; each group is named."""
    from eadbench.harness.results.cleaning import unneeded
    from eadbench.harness.results.folder import Results
    from eadbench.harness.results.owner import Owner

    results = Results(folder)
    results.spec()  # refuses a folder that holds no sweep, before it is claimed
    with Owner(folder, warn) as owner:
        owner.claim()
        groups = unneeded(results)
        for group in groups:
            verb = "would remove" if dry_run else "removes"
            size = size_text(group.size)
            out.print(escape(f"{verb} {len(group.files):,} files ({size}): {group.reason}"), soft_wrap=True)
            for file in group.files:
                out.print(escape(f"  {file.relative_to(folder)}"), soft_wrap=True, highlight=False)
            if not dry_run:
                group.remove()
    if not groups:
        out.print("Nothing to remove: the spec needs every file.")


def cancel(folder: Folder) -> None:
    """Ask the command that works in a folder to stop after its running tasks."""
    from eadbench.harness.results.cancelling import ask_to_stop

    owner = ask_to_stop(folder)
    text = (
        f"asked {owner}, to stop after its running tasks; what is committed stays, and the same command goes on later"
    )
    out.print(escape(text), soft_wrap=True, highlight=False)


def size_text(count: float) -> str:
    """Return a number of bytes in a unit that people read: ``3.1 MB``."""
    unit = 0
    while count >= 1000 and unit < len(UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.3g} {UNITS[unit]}"
