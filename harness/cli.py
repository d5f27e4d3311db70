"""The command `eadbench`."""

import sys

import typer

from harness.commands import listing, reporting, running
from harness.commands.options import err
from harness.errors import EadbenchError

app = typer.Typer(
    help="Benchmark of adversarial attacks on image classifiers: EAD, C&W, FGM and I-FGM.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    running.run,
    running.plan,
    running.transfer,
    running.log,
    reporting.report,
    reporting.claims,
    listing.attacks,
    listing.datasets,
    listing.defenses,
    listing.models,
):
    app.command()(command)


def main() -> None:
    """Run the command; a mistake or a fault ends it with one line and its exit code."""
    try:
        app()
    except EadbenchError as error:
        err.print(f"[red]error:[/] {error}", soft_wrap=True, highlight=False)
        sys.exit(error.exit_code)
