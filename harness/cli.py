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
from eadbench.harness.commands import checking, listing, planning, reporting, running, schema, showing, verifying
from eadbench.harness.commands.options import err
from eadbench.harness.commands.stopping import stopped_by_signals
from eadbench.harness.commands.streams import steady
from eadbench.harness.errors import EadbenchError, EnvironmentFault, Stopped, UserError
from eadbench.harness.messages import one_line, printable, redact
from eadbench.harness.places import FILES
from eadbench.models.code import NO_CODE

app = typer.Typer(
    help="Benchmark of adversarial attacks on image classifiers: EAD, C&W, FGM and I-FGM.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def refuse_own_code(
    no_code: Annotated[
        bool,
        typer.Option("--no-code", help="Refuse specs and results that name code of their own: package.module:name."),
    ] = False,
    allow_files: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="With --no-code, specs may name files below the working folder, and below DIR; repeatable.",
        ),
    ] = None,
) -> None:
    """Benchmark of adversarial attacks on image classifiers: EAD, C&W, FGM and I-FGM."""
    if no_code:
        os.environ[NO_CODE] = "1"
        os.environ[FILES] = os.pathsep.join(str(folder.absolute()) for folder in allow_files or ())
    elif allow_files:
        raise UserError("--allow-files: needs --no-code, without which specs may name any file")


def naming_spec(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with the path of its spec before every error of the user."""

    @functools.wraps(command)
    def wrapper(spec_file: Path, **options: object) -> None:
        try:
            command(spec_file, **options)
        except UserError as error:
            text = str(error)
            raise UserError(text if text.startswith(f"{spec_file}: ") else f"{spec_file}: {text}") from error

    return wrapper


for command in (
    naming_spec(running.run),
    naming_spec(planning.plan),
    running.transfer,
    running.log,
    reporting.report,
    reporting.claims,
    showing.show,
    verifying.verify,
    dashboard,
    listing.attacks,
    listing.datasets,
    listing.defenses,
    listing.models,
    checking.check,
    schema.schema,
):
    app.command()(command)


def main() -> None:
    """Run the command. After an error, print one line and exit with the error's code."""
    sys.stdout, sys.stderr = steady(sys.stdout), steady(sys.stderr)
    try:
        with stopped_by_signals():
            app()
    except Stopped as stop:
        _print_error(str(stop))
        sys.stdout.flush()
        os._exit(stop.exit_code)  # an interrupted library's threads can crash the interpreter's end
    except EadbenchError as error:
        _end(str(error), error.exit_code)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _end(f"{place}{error.strerror or error}; what is committed stays", EnvironmentFault.exit_code)


def _end(message: str, exit_code: int) -> None:
    """Print an error on one line, and exit."""
    _print_error(message)
    sys.exit(exit_code)


def _print_error(message: str) -> None:
    """Print an error on one line, without secrets and control characters."""
    line = one_line(printable(redact(message)))
    err.print(Text.assemble(("error:", "red"), " ", line), soft_wrap=True)
