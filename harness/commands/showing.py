"""The command that draws one example: show."""

from typing import Annotated

import typer

from eadbench.harness.commands.options import AllowCode, Folder, out

__all__ = ["show"]


def show(
    folder: Folder,
    example: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE:TARGET[:CELL]",
            help="Index of an image, index of its target class, and the first digits of a cell; the first success "
            "unless given.",
        ),
    ] = None,
    allow_code: AllowCode = False,
) -> None:
    """Draw one example, and print the result of every attack on it."""
    from eadbench.harness.analysis import example as one_example
    from eadbench.harness.reporting.drawn_example import shown
    from eadbench.harness.results.folder import Results
    from eadbench.harness.results.snapshot import Snapshot

    snapshot = Snapshot(Results(folder), allow_code=allow_code)
    name = one_example.named(example) if example else one_example.first(snapshot.folder)
    out.print(*shown(one_example.find(snapshot, name), out), sep="\n\n")
