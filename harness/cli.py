"""The command `eadbench`."""

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from eadbench.dashboards.command import dashboard
from eadbench.harness.commands import listing, reporting, running, showing
from eadbench.harness.commands.options import err
from eadbench.harness.errors import EadbenchError, EnvironmentFault, UserError
from eadbench.harness.tracking_uri import redact
from eadbench.models.code import NO_CODE

app = typer.Typer(
    help="Benchmark of adversarial attacks on image classifiers: EAD, C&W, FGM and I-FGM.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def trust(
    no_code: Annotated[
        bool,
        typer.Option("--no-code", help="Refuse a spec, and results, that name code of their own: package.module:name."),
    ] = False,
) -> None:
    """Benchmark of adversarial attacks on image classifiers: EAD, C&W, FGM and I-FGM."""
    if no_code:
        os.environ[NO_CODE] = "1"


def of_its_file(command: Callable[..., None]) -> Callable[..., None]:
    """The command, whose users' mistakes are said to be of the spec that it was given."""

    @functools.wraps(command)
    def run(spec_file: Path, **options: object) -> None:
        try:
            command(spec_file, **options)
        except UserError as error:
            text = str(error)
            raise UserError(text if text.startswith(f"{spec_file}: ") else f"{spec_file}: {text}") from error

    return run


for command in (
    of_its_file(running.run),
    of_its_file(running.plan),
    running.transfer,
    running.log,
    reporting.report,
    reporting.claims,
    showing.show,
    dashboard,
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
        _end(str(error), error.exit_code)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _end(f"{place}{error.strerror or error}; what is committed stays", EnvironmentFault.exit_code)
    except Exception as error:
        if not type(error).__module__.startswith("botocore."):  # S3's client raises errors that are no OSError
            raise
        _end(f"S3: {error}; what is committed stays", EnvironmentFault.exit_code)


def _end(message: str, exit_code: int) -> None:
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in redact(message))
    err.print(Text.assemble(("error:", "red"), " ", line), soft_wrap=True)
    sys.exit(exit_code)
